package journal

import (
	"log/slog"
	"os"
	"testing"

	"k8s.io/klog/v2"
)

func TestMain(m *testing.M) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	if os.Getenv(childDir) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}
