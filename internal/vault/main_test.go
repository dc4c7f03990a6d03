package vault

import (
	"os"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		os.Exit(child())
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
