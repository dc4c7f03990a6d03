package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"
)

// ATTACK: somebody with the disk in hand makes entries go away while the gateway
// is stopped: all of them, those since an older copy, or the newest ones.
// THIS TEST VERIFIES: the gateway does not start on what is left.
//
// promise: P22
func TestATamperedStateDoesNotServe(t *testing.T) {
	for name, tamper := range map[string]func(t *testing.T, state, older string){
		"the journal is deleted": func(t *testing.T, state, _ string) {
			try(t, os.RemoveAll(filepath.Join(state, "journal")))
		},
		"the journal is an older one": func(t *testing.T, state, older string) {
			try(t, os.RemoveAll(filepath.Join(state, "journal")))
			try(t, os.CopyFS(filepath.Join(state, "journal"), os.DirFS(filepath.Join(older, "journal"))))
			try(t, shut(filepath.Join(state, "journal")))
		},
		"the keys are deleted": func(t *testing.T, state, _ string) {
			try(t, os.RemoveAll(filepath.Join(state, "keys")))
		},
		"the newest entries are deleted": func(t *testing.T, state, _ string) {
			execute(t, state, `DELETE FROM entry WHERE seq > 1`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			serve := func(notes int) {
				s.start()
				for range notes {
					if _, _, err := s.post(`{"title":"a","state":"open"}`); err != nil {
						t.Fatal(err)
					}
				}
				if status := s.stop(syscall.SIGTERM); status != 0 {
					t.Fatalf("exit status %d", status)
				}
			}
			state, older := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "older")
			serve(2)
			try(t, os.CopyFS(older, os.DirFS(state)))
			serve(3)
			tamper(t, state, older)
			if out := s.fails(); !strings.Contains(out, "journal") {
				t.Errorf("the gateway says %s", out)
			}
		})
	}
}

// shut makes a copied tree the owner's alone again.
func shut(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	})
}

func execute(t *testing.T, state, statement string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(state, "journal", "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("databases %v %v", files, err)
	}
	db, err := sql.Open("sqlite", files[0])
	try(t, err)
	_, err = db.ExecContext(context.Background(), statement)
	try(t, err)
	try(t, db.Close())
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
