package obfuscate

import (
	"math/big"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// check generalises text; an empty want says that it must not be understood.
func check(t *testing.T, kind isogate.Kind, form, text, want string) {
	t.Helper()
	f, err := isogate.ParseForm(isogate.Generalise, form)
	if err != nil {
		t.Fatal(err)
	}
	out, ok := generalise([]byte("x"), f, isogate.Value{Kind: kind, Text: []byte(text)})
	if ok != (want != "") || ok && string(out) != "x"+want || !ok && string(out) != "x" {
		t.Errorf("%s of %s %q: %q, %v; want %q", form, kind, text, out, ok, want)
	}
}

func TestDates(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"year", "2026-05-17", "2026-01-01"},
		{"month", "2026-05-17", "2026-05-01"},
		{"day", "2026-05-17", "2026-05-17"},
		{"hour", "2026-05-17", "2026-05-17"},
		{"month", "2026-05-17T10:11:12Z", "2026-05-01T00:00:00Z"},
		{"day", "2026-05-17t10:11:12z", "2026-05-17t00:00:00Z"},
		{"hour", "2026-05-17 10:11:12Z", "2026-05-17 10:00:00Z"},
		{"hour", "2018-11-23T16:05:13.000+0000", "2018-11-23T16:00:00.000+0000"},
		{"hour", "2018-11-23T16:05:13.123456789+05:30", "2018-11-23T10:00:00.000000000+00:00"},
		{"month", "2026-06-01T03:00:00+09:00", "2026-05-01T00:00:00+00:00"},
		{"year", "2026-12-31T23:00:00-02:00", "2027-01-01T00:00:00+00:00"},
		{"day", "2016-12-31T23:59:60Z", "2016-12-31T00:00:00Z"},
		{"day", "2024-02-29", "2024-02-29"},
		{"year", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
		{"year", "0000-01-01T00:00:00+01:00", ""},
		{"year", "9999-12-31T23:59:59-01:00", ""},
		{"day", "2023-02-29", ""},
		{"day", "2026-13-01", ""},
		{"day", "2026-00-10", ""},
		{"day", "2026-05-00", ""},
		{"day", "2026-5-17", ""},
		{"day", "2026-05-1x", ""},
		{"day", "x026-05-17", ""},
		{"day", "2026/05/17", ""},
		{"day", "2026-05", ""},
		{"day", "2026", ""},
		{"day", "", ""},
		{"day", "2026-05-17T", ""},
		{"day", "2026-05-17T10:11", ""},
		{"day", "2026-05-17T10:11:12", ""},
		{"day", "2026-05-17T10:11:12.Z", ""},
		{"day", "2026-05-17T10:11:12.", ""},
		{"day", "2026-05-17T10:11:12.1234567890Z", ""},
		{"day", "2026-05-17T24:11:12Z", ""},
		{"day", "2026-05-17T10:60:12Z", ""},
		{"day", "2026-05-17T10:11:61Z", ""},
		{"day", "2026-05-17T1x:11:12Z", ""},
		{"day", "2026-05-17T10-11:12Z", ""},
		{"day", "2026-05-17_10:11:12Z", ""},
		{"day", "2026-05-17T10:11:12+25:00", ""},
		{"day", "2026-05-17T10:11:12+01:75", ""},
		{"day", "2026-05-17T10:11:12+01:0", ""},
		{"day", "2026-05-17T10:11:12+01000", ""},
		{"day", "2026-05-17T10:11:12+0x00", ""},
		{"day", "2026-05-17T10:11:12ZZ", ""},
		{"day", "2026-05-17T10:11:12X", ""},
		{"day", "2026-05-17 and my name is Mia", ""},
		{"day", "Sun, 17 May 2026 10:11:12 GMT", ""},
		{"day", "1716000000", ""},
		{"day", "555-123-4567", ""},
	} {
		check(t, isogate.String, c.form, c.text, c.want)
	}
}

func TestUnixTimes(t *testing.T) {
	unix := func(s string) string {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(d.Unix(), 10)
	}
	at := unix("2026-05-17T10:11:12Z")
	for _, c := range []struct{ form, text, want string }{
		{"year", at, unix("2026-01-01T00:00:00Z")},
		{"month", at, unix("2026-05-01T00:00:00Z")},
		{"day", at, unix("2026-05-17T00:00:00Z")},
		{"hour", at, unix("2026-05-17T10:00:00Z")},
		{"hour", at + ".987", unix("2026-05-17T10:00:00Z")},
		{"hour", at + "123", unix("2026-05-17T10:00:00Z") + "000"},
		{"year", "0", "0"},
		{"year", "5", "0"},
		{"year", "-1", unix("1969-01-01T00:00:00Z")},
		{"year", "-0.5", unix("1969-01-01T00:00:00Z")},
		{"hour", "-3600", "-3600"},
		{"year", "99999999999", unix("5138-01-01T00:00:00Z")},
		{"year", "100000000000", unix("1973-01-01T00:00:00Z") + "000"},
		{"year", "99999999999999", unix("5138-01-01T00:00:00Z") + "000"},
		{"year", "100000000000000", ""},
		{"year", "1000000000000000", ""},
		{"year", "12345678901234567890123", ""},
		{"year", "1.7e9", ""},
		{"year", "01", ""},
	} {
		check(t, isogate.Number, c.form, c.text, c.want)
	}
}

func TestNetworks(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"network-24", "203.0.113.77", "203.0.113.0"},
		{"network-16", "203.0.113.77", "203.0.0.0"},
		{"network-8", "203.0.113.77", "203.0.0.0"[:3] + ".0.0.0"},
		{"network-32", "203.0.113.77", "203.0.113.0"},
		{"network-28", "203.0.113.77", "203.0.113.0"},
		{"network-48", "203.0.113.77", "203.0.113.0"},
		{"network-33", "203.0.113.77", "203.0.0.0"},
		{"network-64", "203.0.113.77", "203.0.113.0"},
		{"network-24", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
		{"network-16", "2001:db8:1:2:3:4:5:6", "2001:db8::"},
		{"network-32", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"network-48", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
		{"network-64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"network-24", "::ffff:203.0.113.77", "203.0.113.0"},
		{"network-16", "2002:cb00:714d::1", "2002:cb00::"},
		{"network-64", "2002:cb00:714d::1", "2002:cb00:7100::"},
		{"network-24", "fe80::1%eth0", ""},
		{"network-24", "203.0.113.77/24", ""},
		{"network-24", "203.0.113.77:443", ""},
		{"network-24", "203.0.113", ""},
		{"network-24", "203.000.113.077", ""},
		{"network-24", "example.com", ""},
		{"network-24", "", ""},
		{"network-24", strings.Repeat("1", 4000), ""},
	} {
		check(t, isogate.String, c.form, c.text, c.want)
	}
	check(t, isogate.Number, "network-24", "3405803853", "")
	if out, ok := appendNetwork(nil, 0, []byte("203.0.113.77")); ok {
		t.Errorf("no network at all: %s", out)
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"step-10", "0", "0"},
		{"step-10", "9", "0"},
		{"step-10", "10", "10"},
		{"step-10", "19.999", "10"},
		{"step-7", "100", "98"},
		{"step-1000", "123456789012345678901234567890", "123456789012345678901234567000"},
		{"step-10", "-1", "-10"},
		{"step-10", "-10", "-10"},
		{"step-10", "-10.0", "-10"},
		{"step-10", "-10.01", "-20"},
		{"step-10", "-0", "0"},
		{"step-10", "-0.0", "0"},
		{"step-10", "-99", "-100"},
		{"step-1000000000", "-999999999999", "-1000000000000"},
		{"step-3", "-0.5", "-3"},
		{"step-1000000000", "-1", "-1000000000"},
		{"step-1000000000", "1000000001", "1000000000"},
		{"step-10", "1e3", ""},
		{"step-10", "", ""},
		{"step-10", "-", ""},
		{"step-10", "1.", ""},
		{"step-10", ".5", ""},
		{"step-10", "01", ""},
		{"step-10", "1.5x", ""},
		{"step-10", "1,5", ""},
		{"step-10", "+1", ""},
		{"step-10", " 1", ""},
		{"step-10", strings.Repeat("9", maxDigits+1), ""},
	} {
		check(t, isogate.Number, c.form, c.text, c.want)
		check(t, isogate.String, c.form, c.text, c.want)
	}
	if _, ok := appendStep(nil, 0, []byte("1")); ok {
		t.Error("a step of nothing")
	}
}

// Against exact arithmetic, for any number and step.
func FuzzStep(f *testing.F) {
	f.Add("123.45", 10)
	f.Add("-0.001", 7)
	f.Add("-99999999999999999999", 1_000_000_000)
	f.Fuzz(func(t *testing.T, s string, step int) {
		step = 2 + (step%999_999_999+999_999_999)%999_999_999
		out, ok := appendStep(nil, step, []byte(s))
		if !ok {
			if regexp.MustCompile(`^-?(0|[1-9][0-9]{0,300})(\.[0-9]{1,50})?$`).MatchString(s) {
				t.Fatalf("%q was not understood", s)
			}
			return
		}
		value, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%q is no number", s)
		}
		got, ok := new(big.Int).SetString(string(out), 10)
		if !ok || got.String() != string(out) {
			t.Fatalf("%q: %q is not spelled as a number is", s, out)
		}
		quotient := new(big.Int).Div(value.Num(), value.Denom()) // Euclidean: down, as the divisor is positive
		want := quotient.Div(quotient, big.NewInt(int64(step)))
		if want.Mul(want, big.NewInt(int64(step))); want.Cmp(got) != 0 {
			t.Fatalf("%q in steps of %d: %s, want %s", s, step, got, want)
		}
	})
}

func TestPostcodes(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"prefix-3", "10115", "101"},
		{"prefix-2", "SW1A 1AA", "SW"},
		{"prefix-5", "SW1A 1AA", "SW1A"},
		{"prefix-4", "100-0001", "100"},
		{"prefix-6", "12345-6789", "12345"},
		{"prefix-3", "101", ""},
		{"prefix-3", "10", ""},
		{"prefix-3", "Smith", ""},
		{"prefix-3", "1 Main Street, Springfield", ""},
		{"prefix-3", "1011_", ""},
		{"prefix-3", "1011é", ""},
		{"prefix-2", " - 12", ""},
		{"prefix-3", "", ""},
	} {
		check(t, isogate.String, c.form, c.text, c.want)
	}
	for text, want := range map[string]string{"10115": "101", "-10115": "", "101.15": "", "1e10": "", "99": "", "0115": ""} {
		check(t, isogate.Number, "prefix-3", text, want)
	}
	if _, ok := appendPostcode(nil, 0, []byte("10115"), false); ok {
		t.Error("a prefix of nothing")
	}
}

func TestGeo(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"geo-2", "48.858370", "48.85"},
		{"geo-2", "48.859999", "48.85"},
		{"geo-2", "-48.859999", "-48.85"},
		{"geo-0", "48.858370", "48"},
		{"geo-0", "-0.1276", "0"},
		{"geo-1", "-0.1276", "-0.1"},
		{"geo-3", "48.8", "48.8"},
		{"geo-3", "180", "180"},
		{"geo-3", "180.000", "180.000"},
		{"geo-3", "180.001", ""},
		{"geo-3", "181", ""},
		{"geo-3", "1234.5", ""},
		{"geo-3", "1e1", ""},
		{"geo-3", "48.", ""},
	} {
		check(t, isogate.Number, c.form, c.text, c.want)
		check(t, isogate.String, c.form, c.text, c.want)
	}
	for _, c := range []struct{ form, text, want string }{
		{"geo-1", "48.858370,2.294481", "48.8,2.2"},
		{"geo-1", "48.858370, -2.294481", "48.8, -2.2"},
		{"geo-0", "-0.5,-179.9", "0,-179"},
		{"geo-1", "90,180", "90,180"},
		{"geo-1", "90.5,18", ""},
		{"geo-1", "48.858370,", ""},
		{"geo-1", ",2.29", ""},
		{"geo-1", "48.8,2.2,33", ""},
		{"geo-1", "48.8,  2.2", ""},
		{"geo-1", "48.8;2.2", ""},
		{"geo-1", "near the station", ""},
	} {
		check(t, isogate.String, c.form, c.text, c.want)
		if c.want != "" {
			check(t, isogate.Number, c.form, c.text, "")
		}
	}
}

func TestGeneraliseUnknown(t *testing.T) {
	for _, kind := range []isogate.Kind{isogate.Null, isogate.Bool, isogate.Number, isogate.String} {
		if out, ok := generalise(nil, isogate.Form{Name: "sideways", N: 3}, isogate.Value{Kind: kind, Text: []byte("12345")}); ok {
			t.Errorf("%v: %s", kind, out)
		}
	}
	check(t, isogate.Bool, "step-10", "1", "")
	check(t, isogate.Null, "year", "2026-05-17", "")
}

// Whatever the text: the result is coarser, the same again if generalised
// again, and never longer than a value of its kind is.
func FuzzGeneralise(f *testing.F) {
	forms := []string{"year", "month", "day", "hour", "network-24", "network-64", "step-10", "prefix-3", "geo-1"}
	for _, s := range []string{"2026-05-17", "2026-05-17T10:11:12.5+02:00", "1716000000", "203.0.113.7", "2002:cb00:714d::1", "-12.5", "SW1A 1AA", "48.85,2.29", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range forms {
			form, err := isogate.ParseForm(isogate.Generalise, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []isogate.Kind{isogate.Number, isogate.String} {
				out, ok := generalise(nil, form, isogate.Value{Kind: kind, Text: []byte(s)})
				if !ok {
					continue
				}
				if len(out) > len(s)+16 {
					t.Fatalf("%s of %q: %q", name, s, out)
				}
				if kind == isogate.Number {
					if _, ok := parseDecimal(out); !ok {
						t.Fatalf("%s of %s: %q is no number", name, s, out)
					}
				}
				if form.Name == "network" {
					if a, err := netip.ParseAddr(string(out)); err != nil || a.String() != string(out) {
						t.Fatalf("%s of %q: %q", name, s, out)
					}
				}
				if form.Name == "prefix" || form.N == 0 && kind == isogate.Number {
					continue // a prefix is no postcode; early milliseconds, cut, look like seconds
				}
				again, ok := generalise(nil, form, isogate.Value{Kind: kind, Text: out})
				if !ok || string(again) != string(out) {
					t.Fatalf("%s of %q: %q, and again %q, %v", name, s, out, again, ok)
				}
			}
		}
	})
}
