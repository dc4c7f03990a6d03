package custody

import (
	"os"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
