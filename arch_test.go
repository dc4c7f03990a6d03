package isogate_test

import (
	"os"
	"testing"

	"github.com/isogate/isogate/internal/check"
)

// floors is the house's plan. An import goes down, never sideways or up; what
// each room answers is in docs/architecture.md.
var floors = check.Floors{
	Of: map[string]int{
		".":                    0,
		"internal/taxonomy":    1,
		"internal/obfuscate":   1,
		"internal/tenant":      1,
		"internal/journal":     1,
		"internal/remote":      1,
		"internal/payload":     1,
		"internal/http1":       1,
		"internal/guess":       1,
		"internal/policy":      2,
		"internal/consent":     2,
		"internal/seal":        2,
		"internal/access":      2,
		"internal/change":      2,
		"internal/trail":       2,
		"internal/gateway":     3,
		"internal/custody":     3,
		"internal/archive":     3,
		"internal/evidence":    3,
		"internal/vault":       3,
		"internal/landing":     4,
		"internal/hub":         4,
		"packs":                3,
		"landing":              3,
		"internal/isogatetest": 5,
		"cmd/isogate":          6,
	},
	TestsOnly: []string{"internal/check", "internal/isogatetest/pgtest", "internal/isogatetest/dnstest", "internal/isogatetest/browsertest", "internal/isogatetest/oidctest"},
	ForTests:  []string{"internal/isogatetest"},
}

func tree(t *testing.T) *check.Tree {
	t.Helper()
	tree, err := check.Load(os.DirFS("."), "github.com/isogate/isogate")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func none(t *testing.T, findings []check.Finding) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

func TestImportsGoDown(t *testing.T) { none(t, tree(t).Floors(floors)) }

func TestEveryPackageSaysWhatItIs(t *testing.T) { none(t, tree(t).Documented()) }

// TestOnlyRemoteOpensConnections keeps the one way out: nothing but
// internal/remote asks the kernel for a connection or a name, and no HTTP client
// or transport is used that would dial by itself. internal/isogatetest is let
// off: it plays the callers in front of the gateway, in tests and in the demo.
//
// promise: P01
func TestOnlyRemoteOpensConnections(t *testing.T) {
	none(t, tree(t).Reach(check.Reach{
		What: "opens connections",
		Names: []string{
			"net.Dial", "net.DialTimeout", "net.DialTCP", "net.DialUDP", "net.DialIP", "net.DialUnix", "net.Dialer", "net.ListenUDP", "net.ListenPacket",
			"net.LookupHost", "net.LookupIP", "net.LookupAddr", "net.LookupCNAME", "net.LookupMX", "net.LookupNS", "net.LookupSRV", "net.LookupTXT",
			"net.DefaultResolver", "net.ResolveIPAddr",
			"crypto/tls.Dial", "crypto/tls.DialWithDialer", "crypto/tls.Dialer",
			"net/http.Get", "net/http.Head", "net/http.Post", "net/http.PostForm", "net/http.DefaultClient", "net/http.DefaultTransport",
			"syscall.Connect", "syscall.Sendto", "syscall.Socket", "golang.org/x/sys/unix.Connect", "golang.org/x/sys/unix.Sendto", "golang.org/x/sys/unix.Socket",
		},
		Imports: []string{"net/smtp", "net/rpc", "net/http/httputil", "log/syslog", "golang.org/x/net/proxy", "golang.org/x/net/websocket"},
		Only:    []string{"internal/remote", "internal/isogatetest", "internal/isogatetest/dnstest"},
		Instead: "use remote.Dialer, which checks the address really dialled",
	}))
	none(t, tree(t).Unset("net/http.Transport", "DialContext", "it would dial by itself; set remote.Dialer's", "internal/isogatetest"))
	none(t, tree(t).Unset("net/http.Client", "Transport", "it would use the process-wide transport; set one that dials through remote"))
}

// TestNothingRunsAnotherProgram lets two packages off: what tests alone may import,
// and runs a PostgreSQL server or a browser for them.
func TestNothingRunsAnotherProgram(t *testing.T) {
	none(t, tree(t).Reach(check.Reach{
		What:    "runs other code",
		Names:   []string{"syscall.Exec", "syscall.ForkExec", "os.StartProcess"},
		Imports: []string{"os/exec", "plugin", "C", "github.com/chromedp/chromedp"},
		Only:    []string{"internal/isogatetest/pgtest", "internal/isogatetest/browsertest"},
		Instead: "the binary is static and whole; do it in Go",
	}))
}

// TestOnlyTheStoresTouchTheDatabase: the journal, what is projected from it, and the landing side's receipts and register.
func TestOnlyTheStoresTouchTheDatabase(t *testing.T) {
	none(t, tree(t).Reach(check.Reach{
		What: "touches the database",
		Imports: []string{"database/sql", "database/sql/driver", "modernc.org/sqlite", "modernc.org/sqlite/lib", "github.com/jackc/pgx/v5",
			"github.com/jackc/pgx/v5/pgconn", "github.com/jackc/pgx/v5/stdlib", "github.com/jackc/pgx/v5/pgxpool", "github.com/pressly/goose/v3",
			"github.com/pressly/goose/v3/database", "github.com/pressly/goose/v3/lock"},
		Only:    []string{"internal/journal", "internal/trail", "internal/vault", "internal/landing"},
		Instead: "give internal/journal or, on the landing side, internal/vault a method for it",
	}))
}

// TestFloorZeroIsPure keeps the vocabulary free of I/O and of anything but the
// standard library, so that whatever imports it gets words and nothing else.
func TestFloorZeroIsPure(t *testing.T) {
	for _, p := range tree(t).Packages {
		if p.Dir != "." {
			continue
		}
		allowed := map[string]bool{"fmt": true, "strings": true, "strconv": true, "time": true, "log/slog": true, "errors": true, "slices": true}
		for _, f := range p.Files {
			for _, im := range f.AST.Imports {
				if path := im.Path.Value[1 : len(im.Path.Value)-1]; !f.Test && !allowed[path] {
					t.Errorf("%s imports %s; the vocabulary does no I/O and needs the standard library only", f.Path, path)
				}
			}
		}
	}
}
