package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isogate/isogate/packs"
)

// demoFiles are what the demo's customer has beside the shipped pack: the manifests
// of an app, and their own part of the policy.
//
//go:embed demo
var demoFiles embed.FS

// Manifests of the app of the demo, as its vendor ships them.
const (
	botManifest1 = "triage-bot-1.yaml"
	botManifest2 = "triage-bot-2.yaml"
)

func manifestOf(name string) ([]byte, error) { return demoFiles.ReadFile("demo/" + name) }

// writeDemoPack makes a pack as a customer has one: the shipped one, whose ways they
// keep, with their own name, destinations and invariants, and their own ways beside.
// The support portal has a landing, whose public key is given.
func writeDemoPack(dir, landingKey string) error {
	own, err := fs.Sub(demoFiles, "demo/pack")
	if err == nil {
		err = errors.Join(os.RemoveAll(dir), os.CopyFS(dir, packs.Reference()))
	}
	if err != nil {
		return fmt.Errorf("demo: the pack: %w", err)
	}
	err = fs.WalkDir(own, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(own, p)
		if err != nil {
			return err
		}
		text = bytes.Replace(text, []byte("LANDING_KEY"), []byte(landingKey), 1)
		to := filepath.Join(dir, filepath.FromSlash(p))
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, text, 0o600))
	})
	if err != nil {
		return fmt.Errorf("demo: the pack: %w", err)
	}
	return nil
}
