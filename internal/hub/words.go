package hub

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
)

// words are what templates say things with.
var words = template.FuncMap{
	"keyID":      func(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) },
	"shown":      func(s any) string { return consent.Shown(fmt.Sprint(s)) },
	"moment":     moment,
	"day":        func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
	"ago":        ago,
	"bytes":      bytesOf,
	"number":     number,
	"plural":     plural,
	"standalone": standalone,
	"join":       strings.Join,
	"share":      share,
	"percent":    percent,
	"group":      group,
	"tone":       tone,
	"dict":       dict,
	"explore":    explore,
	"parts":      Forms.parts,
	"millis":     millis,
	"sum":        func(a, b uint64) uint64 { return a + b },
	"since":      func(t, now time.Time) string { return span(now.Sub(t)) },
	"instant":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"deref":      func(p any) any { return reflect.Indirect(reflect.ValueOf(p)).Interface() },
	"section":    sectionOf,
	"rulelink":   ruleLink,
	"filelink":   fileLink,
	"derefn":     func(n *uint64) uint64 { return *n },
	"last":       func(acts []ActView) int { return len(acts) - 1 },
	"pick": func(yes bool, a, b string) string {
		if yes {
			return a
		}
		return b
	},
	"domain": domain,
	"path":   partyPath,
	// leafaction tells an action and its form apart: token email.
	"leafaction": func(s string) [2]string {
		action, form, _ := strings.Cut(s, " ")
		return [2]string{action, form}
	},
}

// groups say what is left of a value outside, by the action that it left under.
var groups = map[isogate.Action]string{
	isogate.Refuse: "stop", isogate.Drop: "stop", isogate.Redact: "hide", isogate.Hash: "hide", isogate.Token: "hide",
	isogate.Mask: "part", isogate.Generalise: "part", isogate.Seal: "seal", isogate.Allow: "plain",
}

// group is the group of an action, as style sheet and charts name it.
func group(a isogate.Action) string { return groups[a] }

// tones are how statuses look: what went well, what somebody should look at, what
// is wrong, what waits. What has none is quiet.
var tones = map[string]string{
	"granted": "good", "in force": "good", "approved": "good", "confirmed": "good", "ready": "good", "valid": "good", "passed": "good", "verified": "good",
	"agreed": "good", "up to date": "good", "wrapped": "good",
	"requested": "wait", "proposed": "wait", "asked": "wait", "waiting": "wait",
	"overdue": "bad", "broken": "bad", "failed": "bad", "not ready": "bad", "damaged": "bad", "over": "bad", "different packs": "bad",
	"invalidated": "warn", "ends soon": "warn", "unused": "warn", "out of touch": "warn", "behind": "warn", "newer": "warn", "none in force": "warn", "kept the old pack": "warn",
	"denied": "quiet", "deferred": "quiet", "expired": "quiet", "revoked": "quiet", "rejected": "quiet", "blocked": "quiet", "ended": "quiet",
}

// tone is how a status looks; parts.html has a sign for each.
func tone(status any) string {
	if t := tones[fmt.Sprint(status)]; t != "" {
		return t
	}
	return "quiet"
}

// share is how much of a whole something is, from 0 to 100 with one digit behind
// the point, as the width of a bar. What is there at all can be seen.
func share(n, of any) string {
	part, whole := float(n), float(of)
	switch {
	case whole <= 0 || part <= 0:
		return "0"
	case part >= whole:
		return "100"
	}
	return fmt.Sprintf("%.1f", max(100*part/whole, 1))
}

// percent is a share as people read it.
func percent(n, of any) string {
	part, whole := float(n), float(of)
	switch p := 100 * part / whole; {
	case whole <= 0:
		return "—"
	case part <= 0:
		return "0 %"
	case p < 0.1:
		return "under 0.1 %"
	case p < 10:
		return fmt.Sprintf("%.1f %%", p)
	case p > 99.9 && part < whole:
		return "over 99.9 %"
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// standalone is a text of the API as a sentence of its own.
func standalone(s string) string {
	s = consent.Shown(s)
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	s = string(unicode.ToUpper(r)) + s[n:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?:") {
		s += "."
	}
	return s
}

// millis is a time in milliseconds as people read it.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

// float is a count of any integer type.
func float(n any) float64 {
	switch v := reflect.ValueOf(n); {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return 0
}

// dict is a map for a template that takes more than one value.
func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: key %d is no text", i/2)
		}
		out[key] = pairs[i+1]
	}
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: a key without a value")
	}
	return out, nil
}

// plural is one of two words.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// moment is a time as a page shows it: to the second, in UTC, with the exact one
// for programs.
func moment(t time.Time) template.HTML {
	if t.IsZero() {
		return "—"
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339Nano) + `">` + t.Format("2 Jan 2006 15:04:05") + ` UTC</time>`) //nolint:gosec // digits and months
}

// ago is how long before now something was, roughly.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	switch {
	case d < 0:
		return "in " + span(-d)
	case d < time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{365 * 24 * time.Hour, "year"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int(d / u.of); n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "less than a second"
}

// bytesOf is a size in binary units (IEC 80000-13).
func bytesOf(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// number is a count with its thousands apart.
func number(n any) string {
	s := fmt.Sprint(n)
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}
