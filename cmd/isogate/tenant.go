package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/tenant"
)

// tenantCmd works on a tenant's keys.
type tenantCmd struct {
	Create tenantCreateCmd `cmd:"" help:"Make the keys of a tenant, so that their public half can be handed out before the first request."`
	Rotate tenantRotateCmd `cmd:"" help:"Make a new primary key; older ones go on reading what they wrote."`

	Intercept interceptCmd `cmd:"" help:"Work on the authority that apps trust so that what they send can be judged."`
}

// tenantFlags say whose keys and where.
type tenantFlags struct {
	Config string `short:"c" default:"isogate.yaml" placeholder:"FILE" help:"Configuration (default isogate.yaml)."`
}

type tenantCreateCmd struct{ tenantFlags }

// Run implements the command.
func (c *tenantCreateCmd) Run(e *env) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if _, err := os.Stat(keysDir(cfg)); !errors.Is(err, fs.ErrNotExist) {
		return errNo{fmt.Errorf("tenant %s has keys already in %s; use isogate tenant rotate for a new primary", cfg.Tenant, keysDir(cfg))}
	}
	keys, _, err := openKeys(cfg, e.Now())
	if err != nil {
		return err
	}
	return tellKeys(e, cfg.Tenant, keys, "created")
}

type tenantRotateCmd struct{ tenantFlags }

// Run implements the command. A running gateway goes on with the old primary
// until it is told to reload.
func (c *tenantRotateCmd) Run(e *env) error {
	cfg, keys, err := c.open(e)
	if err != nil {
		return err
	}
	if err := keys.Rotate(); err != nil {
		return err
	}
	return tellKeys(e, cfg.Tenant, keys, "rotated")
}

func tellKeys(e *env, name isogate.Tenant, keys *tenant.Keyring, act string) error {
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"tenant": name, "act": act, "primary": fmt.Sprintf("%08x", keys.Primary()),
			"keys": len(keys.IDs()), "verifier": keys.Verifier()})
	}
	_, err := fmt.Fprintf(e.Stdout, "%s: keys %s; primary %08x of %d; checkpoints verify by\n%s\n",
		name, act, keys.Primary(), len(keys.IDs()), keys.Verifier())
	if err == nil && act == "rotated" {
		_, err = fmt.Fprintln(e.Stdout, "A running gateway takes the new primary with SIGHUP.")
	}
	return err
}

func keysDir(cfg *config) string { return filepath.Join(cfg.State, "keys") }
