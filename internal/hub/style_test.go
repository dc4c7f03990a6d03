package hub

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// TestColoursCanBeRead computes contrasts as WCAG 2.2 does (1.4.3 and 1.4.11), of every
// pair of colours that the style sheet puts on one another, light and dark.
func TestColoursCanBeRead(t *testing.T) {
	css, err := assetFiles.ReadFile("assets/hub.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, found := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "/* Ground */")
	schemes := map[string]map[string]string{"light": colours(light), "dark": colours(dark)}
	for name, c := range schemes {
		if len(c) < 30 || len(c) != len(schemes["light"]) {
			t.Fatalf("%s has %d colours, light %d", name, len(c), len(schemes["light"]))
		}
		pairs := [][2]string{{"on-accent", "accent"}}
		for _, ground := range []string{"page", "card", "sunk"} {
			for _, text := range []string{"ink", "soft", "accent", "bad"} {
				pairs = append(pairs, [2]string{text, ground})
			}
		}
		for _, tone := range []string{"accent", "good", "warn", "bad", "info", "quiet", "stop", "hide", "part", "seal", "plain"} {
			pairs = append(pairs, [2]string{tone, tone + "-sunk"}, [2]string{"ink", tone + "-sunk"}, [2]string{"accent", tone + "-sunk"})
		}
		for _, p := range pairs {
			if got := contrast(t, c[p[0]], c[p[1]]); got < 4.5 {
				t.Errorf("%s: text %s on %s has %.2f:1, which is less than 4.5:1", name, p[0], p[1], got)
			}
		}
		for _, ground := range []string{"page", "card"} {
			for _, mark := range []string{"edge", "focus", "accent", "stop", "hide", "part", "seal", "plain"} {
				if got := contrast(t, c[mark], c[ground]); got < 3 {
					t.Errorf("%s: the mark %s on %s has %.2f:1, which is less than 3:1", name, mark, ground, got)
				}
			}
		}
	}
}

var colour = regexp.MustCompile(`--([a-z-]+):\s*#([0-9a-f]{6})\b`)

func colours(css string) map[string]string {
	out := map[string]string{}
	for _, m := range colour.FindAllStringSubmatch(css, -1) {
		out[m[1]] = m[2]
	}
	return out
}

// contrast is the contrast ratio of two colours (WCAG 2.2, "contrast ratio").
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	l, m := luminance(t, a), luminance(t, b)
	return (max(l, m) + 0.05) / (min(l, m) + 0.05)
}

func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	var rgb [3]uint8
	if _, err := fmt.Sscanf(hex, "%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2]); err != nil {
		t.Fatalf("the colour %q: %v", hex, err)
	}
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(rgb[i]) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestStyleLoadsNothing: the style sheet names no other file, and nothing that the page
// does not have.
func TestStyleLoadsNothing(t *testing.T) {
	css, err := assetFiles.ReadFile("assets/hub.css")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?i)url\(|@import|expression\(|@font-face`).FindString(string(css)); m != "" {
		t.Errorf("it has %q", m)
	}
	for _, need := range []string{"prefers-color-scheme: dark", "forced-colors: active", "prefers-reduced-motion", "@media print", ":focus-visible"} {
		if !strings.Contains(string(css), need) {
			t.Errorf("it has no %s", need)
		}
	}
	// What sticks may hide what has the focus (WCAG 2.4.11): only the column beside the page does.
	if n := strings.Count(string(css), "position: sticky"); n != 1 || !strings.Contains(string(css), ".side { position: sticky") || strings.Contains(string(css), "position: fixed") {
		t.Errorf("%d things stick", n)
	}
}
