package journal

import (
	"log/slog"
	"os"
	"testing"

	"k8s.io/klog/v2"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

func TestMain(m *testing.M) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	if os.Getenv(childDir) != "" {
		os.Exit(child())
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
