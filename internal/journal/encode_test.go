package journal

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// oracle is the same bytes by encoding/json.
func oracle(t *testing.T, e *isogate.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func encoded(e *isogate.Entry) []byte {
	return appendTail(appendHead(nil, e.ID, e.Seq, e.Time), e)
}

// Every field of an entry is in its bytes, whichever field comes to be added.
func TestEncodingHasEveryField(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC)
	for i := range reflect.TypeFor[isogate.Entry]().NumField() {
		e := isogate.Entry{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Time: at}
		f := reflect.ValueOf(&e).Elem().Field(i)
		switch v := f.Addr().Interface().(type) {
		case *time.Time:
		case *[]isogate.Field:
			*v = []isogate.Field{{}, {Path: "a[].b", Label: "ugc.title", Action: isogate.Mask, Handling: "temporary", TTL: "5m0s", Rule: "t.yaml:3", N: 7},
				{Path: "s", Sealed: true}, {Path: "r", Registered: true}, {Path: "d", Declared: true}}
		case *[]isogate.SealUse:
			*v = []isogate.SealUse{{}, {Key: "n5xgk3tbnrsq", Request: 12, Handling: "temporary", TTL: "5m0s"}}
		case *[]isogate.Closing:
			*v = []isogate.Closing{{}, {Of: "01ARZ3NDEKTSV4RRFFQ69G5FAW", Status: 201, DurationUS: 812}}
		case *map[string]string:
			*v = map[string]string{"b": "2", "a": "1", "ä": "3"}
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString("x\"<é\u2028\x00\xff")
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int, reflect.Int64:
				f.SetInt(-42)
			case reflect.Uint64:
				f.SetUint(1 << 63)
			default:
				t.Fatalf("field %s has a type that the encoding does not know", reflect.TypeFor[isogate.Entry]().Field(i).Name)
			}
		}
		if reflect.TypeFor[isogate.Entry]().Field(i).Name == "ID" {
			e.ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV" // IDs are ours and need no escaping
		}
		if got, want := encoded(&e), oracle(t, &e); !bytes.Equal(got, want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	if n := reflect.TypeFor[isogate.Closing]().NumField(); n != 3 {
		t.Errorf("isogate.Closing has %d fields; teach appendClosing the new one", n)
	}
	if n := reflect.TypeFor[isogate.Field]().NumField(); n != 10 {
		t.Errorf("isogate.Field has %d fields; teach appendField the new one", n)
	}
	if n := reflect.TypeFor[isogate.SealUse]().NumField(); n != 4 {
		t.Errorf("isogate.SealUse has %d fields; teach appendSealUse the new one", n)
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\b\f\n\r\t\x00\x1f\x7f", "é\u2028\u2029\ufffd\xff\xc3", "<&>", "\xed\xa0\x80", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := append(appendString(nil, s), '\n'); !bytes.Equal(got, b.Bytes()) {
			t.Errorf("\n got %q\nwant %q", got, b.Bytes())
		}
	})
}

func TestIDsAreOrdered(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	c := newClock("")
	last := isogate.EntryID("")
	for i := range 10000 {
		switch i % 1000 {
		case 300:
			now = now.Add(time.Millisecond)
		case 600:
			now = now.Add(-time.Hour)
		}
		id, at := c.stamp(now)
		if id <= last || len(id) != idLength {
			t.Fatalf("%d: %s after %s", i, id, last)
		}
		if !at.Equal(now) {
			t.Fatalf("time %s, clock %s", at, now)
		}
		last = id
	}
	// A new start while the clock is behind.
	id, _ := newClock(last).stamp(now)
	if id <= last {
		t.Fatalf("after a start: %s after %s", id, last)
	}
	// A millisecond is full.
	full := newClock("01JD3T8CZ0ZZZZZZZZZZZZZZZZ")
	if id, _ := full.stamp(now.AddDate(-9, 0, 0)); id <= "01JD3T8CZ0ZZZZZZZZZZZZZZZZ" || id[:10] != "01JD3T8CZ1" {
		t.Fatalf("behind a full millisecond: %s", id)
	}
}

func BenchmarkEncode(b *testing.B) {
	e := big()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendTail(appendHead(buf[:0], "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, e.Time), e)
	}
	b.SetBytes(int64(len(buf)))
}
