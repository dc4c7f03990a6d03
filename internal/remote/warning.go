package remote

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Warning is something about a row that whoever consents to it should know. It
// refuses nothing.
type Warning struct {
	// Code is one of wildcard, shared, tunnel, unicode, mixed-scripts, port.
	Code string `json:"code"`
	// Message says it in words.
	Message string `json:"message"`
}

// Warnings returns what there is to say about the row, in a fixed order.
func (r Row) Warnings() []Warning {
	if r.Kind == TransitWay || r.Kind == NoKind {
		return nil
	}
	var w []Warning
	name := strings.TrimPrefix(r.Host, "*.")
	if r.Wildcard() {
		w = append(w, Warning{"wildcard", fmt.Sprintf("every subdomain of %s, at any depth, not %s itself", name, name)})
	}
	switch d := under(rented, name); {
	case !r.Wildcard() && isSuffix(name):
		w = append(w, Warning{"shared", fmt.Sprintf("below %s others have names of their own; this one host is its operator's, and may serve them all", name)})
	case r.Wildcard() && d != "":
		w = append(w, Warning{"shared", fmt.Sprintf("anybody may rent names and storage below %s: what is sent there may go to others than the app's vendor", d)})
	}
	if d := under(tunnels, name); d != "" {
		w = append(w, Warning{"tunnel", fmt.Sprintf("%s leads to a developer's machine: what is sent there goes to whoever runs the tunnel that day", d)})
	}
	if shown := DisplayHost(name); shown != name {
		w = append(w, Warning{"unicode", fmt.Sprintf("%s is shown as %s; look-alike letters are told apart by the first form only", name, shown)})
		if mixed(shown) {
			w = append(w, Warning{"mixed-scripts", fmt.Sprintf("%s mixes letters of several scripts in one label, as look-alikes do", name)})
		}
	}
	if r.Port != 443 {
		w = append(w, Warning{"port", fmt.Sprintf("port %d is not the usual one, 443", r.Port)})
	}
	return w
}

// tunnels are domains below which a developer's machine stands, for as long as
// it does.
var tunnels = []string{
	"ngrok.io", "ngrok.app", "ngrok.dev", "ngrok-free.app", "ngrok-free.dev", "trycloudflare.com", "cfargotunnel.com", "loca.lt", "localtunnel.me",
	"localhost.run", "lhr.life", "lhr.rocks", "serveo.net", "serveousercontent.com", "pagekite.me", "tunnelto.dev", "bore.pub", "telebit.io",
	"devtunnels.ms", "app.github.dev", "gitpod.io", "pinggy.io", "pinggy.link", "sharedwithexpose.com", "zrok.io", "tunnelmole.net",
}

// rented are domains of one operator with public suffixes somewhere below them,
// so that a wildcard may take in everybody's names. The list of suffixes cannot
// be asked for what is below a name.
var rented = []string{"amazonaws.com", "amazonaws.com.cn", "azure.com", "windows.net", "aliyuncs.com"}

// under returns the domain of a list that a host is or is below of, or "".
func under(list []string, host string) string {
	for _, d := range list {
		if host == d || strings.HasSuffix(host, "."+d) {
			return d
		}
	}
	return ""
}

// mixed reports whether a label of a name has letters of more than one script.
// Scripts that one language writes together count as one (UTS #39, 5.1, highly
// restrictive).
func mixed(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		fits := slices.ContainsFunc(together, func(scripts []*unicode.RangeTable) bool {
			return !strings.ContainsFunc(label, func(r rune) bool {
				return unicode.IsLetter(r) && !unicode.In(r, unicode.Common, unicode.Inherited) && !unicode.In(r, scripts...)
			})
		})
		if !fits && !oneScript(label) {
			return true
		}
	}
	return false
}

var together = [][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Latin, unicode.Han, unicode.Hangul},
	{unicode.Latin, unicode.Han, unicode.Bopomofo},
}

func oneScript(label string) bool {
	var script *unicode.RangeTable
	for _, r := range label {
		if !unicode.IsLetter(r) || unicode.In(r, unicode.Common, unicode.Inherited) {
			continue
		}
		if script != nil {
			if !unicode.Is(script, r) {
				return false
			}
			continue
		}
		for _, table := range unicode.Scripts {
			if unicode.Is(table, r) {
				script = table
				break
			}
		}
	}
	return true
}
