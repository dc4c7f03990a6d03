package vault

import (
	"os"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childDir) != "":
		os.Exit(child())
	case os.Getenv(childHarden) != "":
		os.Exit(hardened())
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
