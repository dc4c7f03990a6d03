package hub

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// refusalForm is how the gateway's code states a refusal.
var refusalForm = regexp.MustCompile(`refusal\{status: (\d+), code: "([a-z-]+)",\s*detail: ("[^"]*")`)

// Every refusal that the gateway's code states is told to have stopped at the step
// where it does: by what the entry has by then, its status and its words. A new one
// whose code is not here fails, so that somebody says where it belongs.
func TestEveryRefusalHasItsStep(t *testing.T) {
	source := isogate.Entry{Source: "product/a"}
	first := isogate.Entry{Source: "product/a", Transit: "t", Destination: "d"}
	app := isogate.Entry{Source: "app/a", Purpose: "app"}
	host := isogate.Entry{Source: "app/a", Purpose: "app", Remote: "h:443"}
	found := isogate.Entry{Source: "app/a", Purpose: "app", Remote: "h:443", Destination: "d", Transit: "t"}
	expected := map[string]struct {
		step  step
		knows isogate.Entry // when it is refused
	}{
		"unknown-caller": {stepWho, isogate.Entry{}}, "too-many-refusals": {stepWho, isogate.Entry{}},
		"no-app": {stepWay, app}, "plaintext": {stepWay, app}, "no-remote": {stepWay, app}, "no-transit": {stepWay, source}, "limited-grant": {stepWay, host},
		"no-consent": {stepConsent, first}, "data-in-name": {stepConsent, host}, "no-ledger": {stepConsent, first},
		"header": {stepRewrite, first}, "no-landing": {stepRewrite, first}, "landing": {stepSend, first}, "not-acknowledged": {stepRewrite, first}, "register-size": {stepRewrite, first},
		"no-body": {stepRewrite, first}, "content-type": {stepRewrite, first}, "content-encoding": {stepRewrite, first}, "content": {stepRewrite, first}, "body": {stepRewrite, first},
		"cannot-record": {stepRecord, first}, "budget": {stepRecord, found}, "far-side": {stepSend, first}, "response": {stepSend, first}, "address": {stepSend, first},
		"no-authority": {stepRewrite, found}, "pipelined": {stepRewrite, host}, "tls": {stepRewrite, found}, "host": {stepRewrite, found}, "broken": {stepUnknown, first},
	}
	files, err := filepath.Glob("../gateway/*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range refusalForm.FindAllStringSubmatch(string(text), -1) {
			if n++; m[2] == "session-end" || m[2] == "user-consent" {
				continue // operations of a source that let nothing out: no line of a request
			}
			status, _ := strconv.Atoi(m[1])
			reason, _ := strconv.Unquote(m[3])
			want, known := expected[m[2]]
			if !known {
				t.Errorf("%s: the code %s is new; say at which step it stops", file, m[2])
				continue
			}
			e := want.knows
			e.Stage, e.Status, e.Reason = isogate.StageRefused, status, reason
			if got := stoppedAt(&e); got != want.step {
				t.Errorf("%s %d %q stops at step %d, want %d", m[2], status, reason, got, want.step)
			}
		}
	}
	if n < 40 {
		t.Fatalf("only %d refusals were found in the gateway's code: does it write them otherwise now?", n)
	}
}
