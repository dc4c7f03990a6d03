package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd prints which build this is.
type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(e *env) error {
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision,omitempty"`
		Go       string `json:"go"`
	}{Version: "devel", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	if e.JSON {
		return json.NewEncoder(e.Stdout).Encode(v)
	}
	_, err := fmt.Fprintln(e.Stdout, "isogate", v.Version, v.Revision, v.Go)
	return err
}
