package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/isogate/isogate/internal/tenant"
)

// landingCmd runs what stands outside, in front of a service: it holds the keys of
// what is sealed, shows it to whoever may see it, and destroys them.
type landingCmd struct {
	Serve landingServeCmd `cmd:"" default:"withargs" help:"Run the landing in front of a service, outside."`
	Init  landingInitCmd  `cmd:"" help:"Make the landing's key, so that packs can name its public half before the first start."`
}

type landingInitCmd struct {
	State string `default:"state" placeholder:"DIR" help:"Directory of the landing's state (default state)."`
	Name  string `required:"" placeholder:"NAME" help:"The landing's name, as landing.yaml has it."`
}

// Run implements the command.
func (c *landingInitCmd) Run(e *env) error {
	id, err := tenant.CreateIdentity(c.State, c.Name)
	if errors.Is(err, fs.ErrExist) {
		return errNo{err}
	}
	if err != nil {
		return err
	}
	return tellIdentity(e, c.Name, id)
}

func tellIdentity(e *env, name string, id *tenant.Identity) error {
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"landing": name, "public_key": id.Verifier()})
	}
	_, err := fmt.Fprintf(e.Stdout, "%s: key created. In the pack, the destination names its public half:\n  landing: {public_key: %q}\n", name, id.Verifier())
	return err
}

// openIdentity opens the landing's key, or makes it where there is none yet.
func openIdentity(cfg *landingConfig) (id *tenant.Identity, created bool, err error) {
	id, err = tenant.OpenIdentity(cfg.State, cfg.Landing)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, false, err
	}
	if id, err = tenant.CreateIdentity(cfg.State, cfg.Landing); err != nil {
		return nil, false, fmt.Errorf("state: %w; name a directory that this user can make and write", err)
	}
	return id, true, nil
}
