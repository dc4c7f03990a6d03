package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/tenant"
)

// interceptCmd works on the tenant's interception authority.
type interceptCmd struct {
	Create interceptCreateCmd `cmd:"" help:"Make the authority, for keys that have none yet."`
	Rotate interceptRotateCmd `cmd:"" help:"Make a new authority; the old certificate stays beside it in intercept.pem while trust moves over."`
	Show   interceptShowCmd   `cmd:"" help:"Print the certificates that apps must trust, as PEM."`
}

type interceptCreateCmd struct{ tenantFlags }

// Run implements the command.
func (c *interceptCreateCmd) Run(e *env) error {
	cfg, keys, err := c.open(e)
	if err != nil {
		return err
	}
	a, err := keys.CreateAuthority(e.Now())
	if errors.Is(err, fs.ErrExist) {
		return errNo{err}
	}
	if err != nil {
		return err
	}
	return tellAuthority(e, cfg.Tenant, a, "created")
}

type interceptRotateCmd struct {
	tenantFlags
	DistrustOld bool `help:"Leave the old certificates out: their key may be in other hands. Apps reach nothing until they trust the new one."`
}

// Run implements the command. A running gateway goes on with the old authority
// until it is told to reload.
func (c *interceptRotateCmd) Run(e *env) error {
	cfg, keys, err := c.open(e)
	if err != nil {
		return err
	}
	rotate := keys.RotateAuthority
	if c.DistrustOld {
		rotate = keys.DistrustAuthority
	}
	a, err := rotate(e.Now())
	if err != nil {
		return err
	}
	return tellAuthority(e, cfg.Tenant, a, "rotated")
}

type interceptShowCmd struct{ tenantFlags }

// Run implements the command. What goes to standard output is PEM alone, for a
// trust store; what people want to know beside goes to standard error.
func (c *interceptShowCmd) Run(e *env) error {
	cfg, keys, err := c.open(e)
	if err != nil {
		return err
	}
	a, err := keys.Authority()
	if err != nil {
		return err
	}
	if e.JSON {
		return tellAuthority(e, cfg.Tenant, a, "shown")
	}
	if _, err := e.Stdout.Write(a.PEM()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stderr, "%s: valid until %s; SHA-256 of the first certificate %s\n", cfg.Tenant, a.NotAfter().Format(time.RFC3339), a.Fingerprint())
	return err
}

// open opens keys that are there already: an authority alone is no keyring.
func (f tenantFlags) open(e *env) (*config, *tenant.Keyring, error) {
	cfg, err := loadConfig(f.Config)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(keysDir(cfg)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("tenant %s has no keys in %s; make them with isogate tenant create", cfg.Tenant, keysDir(cfg))
	}
	keys, _, err := openKeys(cfg, e.Now())
	return cfg, keys, err
}

func tellAuthority(e *env, name isogate.Tenant, a *tenant.Authority, act string) error {
	if e.JSON {
		return printJSON(e.Stdout, map[string]any{"tenant": name, "act": act, "fingerprint": a.Fingerprint(), "not_after": a.NotAfter(), "pem": string(a.PEM())})
	}
	_, err := fmt.Fprintf(e.Stdout, "%s: interception authority %s, valid until %s; SHA-256 %s\n"+
		"Have the apps trust what isogate tenant intercept show prints.\n", name, act, a.NotAfter().Format(time.RFC3339), a.Fingerprint())
	if err == nil && act == "rotated" {
		_, err = fmt.Fprintln(e.Stdout, "Then: copy intercept.pem and intercept.key, in this order, to the tenant's other gateways; a running gateway takes the new one with SIGHUP.")
	}
	return err
}
