package vault

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childDir) != "":
		os.Exit(child())
	case os.Getenv(childHarden) != "":
		os.Exit(hardened())
	}
	os.Exit(m.Run())
}
