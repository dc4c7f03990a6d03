package browsertest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// watch is what a window was heard to say.
type watch struct {
	downloads chan *browser.EventDownloadProgress

	mu         sync.Mutex // guards what follows
	complaints []string
	documents  map[string]bool // that were navigated to: their status is the test's to judge
	hosts      map[string]bool // that were asked for anything
	names      map[string]string
}

func newWatch() *watch {
	return &watch{downloads: make(chan *browser.EventDownloadProgress, 16), documents: map[string]bool{}, hosts: map[string]bool{}, names: map[string]string{}}
}

// heard takes an event of the window. It must not wait.
func (w *watch) heard(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.complain("a script threw: %s", e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeAssert || e.Type == runtime.APITypeWarning {
			text, _ := json.Marshal(e.Args)
			w.complain("console: %s: %s", e.Type, text)
		}
	case *log.EventEntryAdded:
		if e.Entry.Source == log.SourceNetwork && w.documents[e.Entry.URL] {
			return
		}
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			w.complain("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		if csp := e.Issue.Details.ContentSecurityPolicyIssueDetails; csp != nil {
			w.complain("content security policy: %s: %s %s", csp.ViolatedDirective, csp.ContentSecurityPolicyViolationType, csp.BlockedURL)
		}
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			w.documents[e.Request.URL] = true
		}
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" {
			w.hosts[u.Host] = true
		}
	case *browser.EventDownloadWillBegin:
		w.names[e.GUID] = e.SuggestedFilename
	case *browser.EventDownloadProgress:
		if e.State != browser.DownloadProgressStateInProgress {
			select {
			case w.downloads <- e:
			default: // nobody waits for so many
			}
		}
	}
}

// complain needs mu.
func (w *watch) complain(format string, args ...any) {
	w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
}

// Complaints are what went wrong since the last time: scripts that threw, errors and
// warnings on the console, what the content security policy forbade, files that were
// not there. The status of the pages that were opened is none.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.complaints
	b.complaints = nil
	return out
}

// Hosts are those that the window asked for anything, with their ports.
func (b *Browser) Hosts() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.hosts {
		out = append(out, h)
	}
	slices.Sort(out)
	return out
}
