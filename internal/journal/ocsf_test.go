package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// ocsfSchema is testdata/ocsf-1.5.0.json.
type ocsfSchema struct {
	Note     string                   `json:"note"`
	Version  string                   `json:"version"`
	Base     map[string]string        `json:"base"`
	Classes  map[string]ocsfShape     `json:"classes"`
	Profiles map[string]ocsfShapeless `json:"profiles"`
	Objects  map[string]ocsfShape     `json:"objects"`
}

type ocsfShapeless map[string]string

type ocsfShape struct {
	Name         string            `json:"name"`
	Category     int               `json:"category"`
	CategoryName string            `json:"category_name"`
	Attributes   map[string]string `json:"attributes"`
	AtLeastOne   []string          `json:"at_least_one"`
	Open         bool              `json:"open"`
}

func readOCSF(t *testing.T) *ocsfSchema {
	t.Helper()
	raw, err := os.ReadFile("testdata/ocsf-1.5.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var s ocsfSchema
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check is what is wrong with an event.
func (s *ocsfSchema) check(event map[string]any) (wrong []string) {
	number := func(name string) int { n, _ := event[name].(float64); return int(n) }
	class, known := s.Classes[fmt.Sprint(number("class_uid"))]
	if !known {
		return []string{fmt.Sprintf("class_uid %v is not known", event["class_uid"])}
	}
	attributes := maps.Clone(s.Base)
	maps.Copy(attributes, class.Attributes)
	metadata, _ := event["metadata"].(map[string]any)
	profiles, _ := metadata["profiles"].([]any)
	for _, p := range profiles {
		profile, known := s.Profiles[fmt.Sprint(p)]
		if !known {
			wrong = append(wrong, fmt.Sprintf("profile %v is not known", p))
		}
		maps.Copy(attributes, profile)
	}
	if number("category_uid") != class.Category || number("class_uid")/1000 != class.Category {
		wrong = append(wrong, fmt.Sprintf("category_uid %v, want %d", event["category_uid"], class.Category))
	}
	if number("type_uid") != number("class_uid")*100+number("activity_id") {
		wrong = append(wrong, fmt.Sprintf("type_uid %v is not class_uid * 100 + activity_id", event["type_uid"]))
	}
	if number("activity_id") == 99 && event["activity_name"] == nil {
		wrong = append(wrong, "activity_id 99 without activity_name")
	}
	if metadata["version"] != s.Version {
		wrong = append(wrong, fmt.Sprintf("metadata.version %v, want %s", metadata["version"], s.Version))
	}
	if v := event["class_name"]; v != nil && v != class.Name {
		wrong = append(wrong, fmt.Sprintf("class_name %v", v))
	}
	if v := event["category_name"]; v != nil && v != class.CategoryName {
		wrong = append(wrong, fmt.Sprintf("category_name %v", v))
	}
	return append(wrong, s.object("", event, attributes, class.AtLeastOne)...)
}

func (s *ocsfSchema) object(at string, o map[string]any, attributes map[string]string, oneOf []string) (wrong []string) {
	for name, v := range o {
		form, known := attributes[name]
		if !known {
			wrong = append(wrong, at+name+" is not known")
			continue
		}
		wrong = append(wrong, s.value(at+name, v, strings.TrimPrefix(form, "!"))...)
	}
	for name, form := range attributes {
		if _, there := o[name]; !there && form[0] == '!' {
			wrong = append(wrong, at+name+" is required")
		}
	}
	if len(oneOf) > 0 && !slices.ContainsFunc(oneOf, func(name string) bool { _, there := o[name]; return there }) {
		wrong = append(wrong, fmt.Sprintf("%sone of %v is required", at, oneOf))
	}
	return wrong
}

func (s *ocsfSchema) value(at string, v any, form string) (wrong []string) {
	if form, list := strings.CutPrefix(form, "[]"); list {
		items, ok := v.([]any)
		if !ok {
			return []string{at + " is no list"}
		}
		for i, v := range items {
			wrong = append(wrong, s.value(fmt.Sprintf("%s[%d]", at, i), v, form)...)
		}
		return wrong
	}
	form, enum, _ := strings.Cut(form, " ")
	ok := false
	switch form {
	case "string":
		var text string
		text, ok = v.(string)
		ok = ok && text != ""
	case "boolean":
		_, ok = v.(bool)
	case "integer", "long", "timestamp":
		var n float64
		n, ok = v.(float64)
		ok = ok && n == math.Trunc(n) && (form != "integer" || math.Abs(n) < 1<<31) && (form != "timestamp" || n > 1e12)
		ok = ok && (enum == "" || slices.Contains(strings.Fields(enum), fmt.Sprint(int64(n))))
	default:
		o, is := v.(map[string]any)
		shape, known := s.Objects[form]
		switch {
		case !known:
			return []string{"the object " + form + " is not known"}
		case !is:
		case shape.Open:
			return nil
		default:
			return s.object(at+".", o, shape.Attributes, shape.AtLeastOne)
		}
	}
	if !ok {
		return []string{fmt.Sprintf("%s is %v, not %s %s", at, v, form, enum)}
	}
	return nil
}

// ofEntries are entries for a writer.
func ofEntries(entries ...isogate.Entry) iter.Seq2[isogate.Entry, error] {
	return func(yield func(isogate.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// everyKind are entries of every kind and shape that gateways, the ledger, custody, the
// Hub and commands write.
func everyKind() []isogate.Entry {
	field := isogate.Field{Path: "user.email", Label: "personal.contact.email", Action: isogate.Allow, Handling: "persisted", Rule: "transits/a.yaml:3", N: 2}
	released := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "product/help", Purpose: "support", Transit: "a", Destination: "far", Method: "POST",
		URL: "/v1/a/{id}", Pack: "sha256:1", Decision: "released", BytesIn: 3, BytesOut: 4, TLS: "TLS 1.3", DigestOut: "x",
		Fields: []isogate.Field{field, {Label: "billing.plan", N: 1}, {Label: "system.metadata", N: 3}}}
	closed := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Of: "01OPENED", Source: "product/help", Destination: "far", Method: "PATCH", Status: 502, Reason: "it did not answer", DurationUS: 2500}
	many := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Closes: []isogate.Closing{{Of: "01A", Status: 200, DurationUS: 1000}, {Of: "01B", Status: 404}}}
	refused := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Decision: "refused", Source: "app/bot", Remote: "api.example", Method: "CONNECT", Status: 403, Reason: "no consent"}
	stranger := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Decision: "refused", Status: 401, Reason: "unknown"}
	all := []isogate.Entry{released, closed, many, refused, stranger}
	for status := range map[int]bool{413: true, 415: true, 422: true, 429: true, 503: true} {
		e := refused
		e.Status = status
		all = append(all, e)
	}
	for _, act := range []string{"declared", "requested", "deferred", "approved", "granted", "denied", "modified", "revoked", "expired", "blocked", "unblocked", "given", "used"} {
		all = append(all, isogate.Entry{Kind: isogate.KindConsent, Act: act, Actor: "ada", Reason: "because", Detail: map[string]string{"party": "app/bot", "signed_in": "passkey"}},
			isogate.Entry{Kind: isogate.KindConsent, Act: act, Actor: "isogate serve", Consent: "01REQUEST"})
	}
	for _, act := range []string{"pack loaded", "pack refused", "pack proposed", "pack approved", "pack withdrawn"} {
		all = append(all, isogate.Entry{Kind: isogate.KindPack, Act: act, Actor: "isogate serve", Pack: "sha256:1", Detail: map[string]string{"name": "acme", "version": "3"}})
	}
	for _, act := range []string{"keys created", "keys rotated", "interception authority loaded"} {
		all = append(all, isogate.Entry{Kind: isogate.KindKey, Act: act, Actor: "isogate serve", Detail: map[string]string{"primary": "0a"}})
	}
	for _, act := range []string{"seal key sent", "seal key refused", "receipt", "receipt refused", "receipt overdue", "receipt given up", "session ended", "erasure asked", "custody summary"} {
		all = append(all, isogate.Entry{Kind: isogate.KindLanding, Act: act, Actor: "isogate serve", Destination: "far"}, isogate.Entry{Kind: isogate.KindLanding, Act: act})
	}
	for _, act := range []string{"signed in", "proved again", "signed out", "session revoked", "sign-ins refused", "link made", "link revoked", "passkey added", "passkey removed", "token made",
		"token revoked", "role given", "role taken", "roles lost", "person removed", "evidence exported", "entries exported", "the story ended", ""} {
		all = append(all, isogate.Entry{Kind: isogate.KindAdmin, Act: act, Actor: "eve", Detail: map[string]string{"person": "bob", "signed_in": "OpenID Connect"}},
			isogate.Entry{Kind: isogate.KindAdmin, Act: act, Actor: "isogate serve"}, isogate.Entry{Kind: isogate.KindAdmin, Act: act})
	}
	all = append(all, isogate.Entry{Kind: isogate.KindUpdate, Act: "update pulled"}, isogate.Entry{Kind: "of the future", Act: "something done"}, isogate.Entry{})
	for i := range all {
		all[i].ID, all[i].Seq, all[i].Tenant = isogate.EntryID(fmt.Sprintf("01HF%022d", i)), uint64(i), "acme"
		all[i].Time = time.UnixMilli(1_800_000_000_000 + int64(i))
	}
	return all
}

func ocsfOf(t *testing.T, entries ...isogate.Entry) (events []map[string]any) {
	t.Helper()
	var b bytes.Buffer
	if err := WriteOCSF(&b, ofEntries(entries...)); err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(&b); d.More(); {
		var e map[string]any
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// TestOCSFIsOfItsSchema: every event of every kind of entry is what OCSF's schema says, and
// no two have one uid.
func TestOCSFIsOfItsSchema(t *testing.T) {
	schema := readOCSF(t)
	classes, uids := map[float64]int{}, map[string]bool{}
	for _, entry := range everyKind() {
		events := ocsfOf(t, entry)
		if len(events) == 0 {
			t.Errorf("%s entry %q has no event", entry.Kind, entry.Act)
		}
		for _, e := range events {
			for _, w := range schema.check(e) {
				t.Errorf("%s entry %q, stage %q, status %d: class %v: %s", entry.Kind, entry.Act, entry.Stage, entry.Status, e["class_uid"], w)
			}
			classes[e["class_uid"].(float64)]++
			uid := e["metadata"].(map[string]any)["uid"].(string)
			if uids[uid] {
				t.Errorf("two events have the uid %s", uid)
			}
			uids[uid] = true
		}
	}
	for _, c := range []float64{4002, 2006, 3004, 6003} {
		if classes[c] == 0 {
			t.Errorf("no event is of the class %v", c)
		}
	}
}

// TestOCSFSchemaFindsWhatIsWrong: the test above can fail, at every attribute that is
// required, and for every other kind of mistake.
func TestOCSFSchemaFindsWhatIsWrong(t *testing.T) {
	schema := readOCSF(t)
	wrong := func(what string, e map[string]any, want string) {
		t.Helper()
		got := strings.Join(schema.check(e), "; ")
		if !strings.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", what, got, want)
		}
	}
	for _, entry := range everyKind() {
		for i := range ocsfOf(t, entry) {
			event := func() map[string]any { return ocsfOf(t, entry)[i] }
			for name := range event() {
				e := event()
				form, class := schema.Base[name], schema.Classes[fmt.Sprint(e["class_uid"])].Attributes[name]
				if !strings.HasPrefix(form, "!") && !strings.HasPrefix(class, "!") || name == "class_uid" {
					continue
				}
				delete(e, name)
				wrong("without "+name, e, name+" is required")
			}
			e := event()
			e["surplus"] = 1
			wrong("an unknown attribute", e, "surplus is not known")
			e = event()
			e["time"] = "now"
			wrong("a string for a time", e, "time is now")
			e = event()
			e["severity_id"] = 7.0
			wrong("outside the enumeration", e, "severity_id is 7")
			e = event()
			e["type_uid"] = e["type_uid"].(float64) + 1
			wrong("wrong arithmetic", e, "type_uid")
			e = event()
			e["category_uid"] = 1.0
			wrong("another category", e, "category_uid")
			e = event()
			delete(e["metadata"].(map[string]any), "product")
			wrong("no product", e, "metadata.product is required")
			e = event()
			delete(e["metadata"].(map[string]any)["product"].(map[string]any), "name")
			wrong("a nameless product", e, "metadata.product.one of")
			if e = event(); e["action_id"] != nil {
				e["metadata"].(map[string]any)["profiles"] = []any{}
				wrong("without its profile", e, "action_id is not known")
			}
		}
	}
}

func TestOCSFSays(t *testing.T) {
	type want struct {
		path  string
		value any
	}
	in := func(e map[string]any, path string) any {
		var v any = e
		for name := range strings.SplitSeq(path, ".") {
			switch o := v.(type) {
			case map[string]any:
				v = o[name]
			case []any:
				v = o[0].(map[string]any)[name]
			default:
				return nil
			}
		}
		return v
	}
	for _, c := range []struct {
		entry isogate.Entry
		class []float64 // of its events
		want  [][]want  // of each
	}{
		{isogate.Entry{ID: "01R", Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "app/bot", Remote: "api.example", Method: "POST", Status: 422, Reason: "broken"},
			[]float64{4002, 2006}, [][]want{
				{{"activity_id", 6.0}, {"action_id", 2.0}, {"disposition_id", 2.0}, {"status_id", 2.0}, {"metadata.uid", "01R"}, {"dst_endpoint.name", "api.example"}},
				{{"activity_id", 1.0}, {"finding_info.uid", "01R"}, {"finding_info.desc", "broken"}, {"src_endpoint.name", "app/bot"}, {"metadata.uid", "01R-finding"}, {"metadata.correlation_uid", "01R"}, {"is_alert", false}}}},
		{isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Status: 401}, []float64{4002}, [][]want{{{"src_endpoint.name", "unknown"}}}},
		{isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: "a", Status: 503}, []float64{4002}, [][]want{nil}},
		{isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Fields: []isogate.Field{{Label: "personal.name", N: 2}, {Label: "ugc.title", N: 1}}},
			[]float64{4002}, [][]want{{{"data_classifications.category_id", 1.0}, {"data_classifications.total", 3.0}, {"data_classifications.policy", nil}}}},
		{isogate.Entry{ID: "01G", Kind: isogate.KindConsent, Act: "granted", Actor: "ada", Consent: "01Q", Reason: "yes", Detail: map[string]string{"party": "app/bot", "signed_in": "passkey"}},
			[]float64{3004, 6003}, [][]want{
				{{"activity_id", 8.0}, {"actor.user.name", "ada"}, {"entity.uid", "01Q"}, {"entity.name", "app/bot"}, {"entity.type", "consent"}, {"comment", "yes"}},
				{{"activity_id", 3.0}, {"api.operation", "granted"}, {"src_endpoint.svc_name", "passkey"}, {"resources.uid", "01Q"}, {"metadata.uid", "01G-call"}}}},
		{isogate.Entry{Kind: isogate.KindConsent, Act: "expired", Actor: "isogate serve"}, []float64{3004}, [][]want{{{"activity_id", 9.0}}}},
		{isogate.Entry{Kind: isogate.KindPack, Act: "pack loaded", Pack: "sha256:1", Detail: map[string]string{"name": "acme", "version": "3"}},
			[]float64{3004}, [][]want{{{"activity_id", 10.0}, {"entity.uid", "sha256:1"}, {"entity.version", "3"}, {"status_id", 1.0}}}},
		{isogate.Entry{Kind: isogate.KindPack, Act: "pack refused"}, []float64{3004}, [][]want{{{"activity_id", 99.0}, {"activity_name", "pack refused"}, {"status_id", 2.0}}}},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "role given", Actor: "olga", Detail: map[string]string{"person": "bob", "signed_in": "passkey"}},
			[]float64{3004, 6003}, [][]want{{{"activity_id", 1.0}, {"entity.type", "role"}, {"entity.name", "bob"}}, {{"activity_id", 1.0}}}},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "signed in", Actor: "bob", Detail: map[string]string{"signed_in": "OpenID Connect"}},
			[]float64{6003}, [][]want{{{"activity_id", 99.0}, {"activity_name", "signed in"}, {"resources.type", "session"}}}},
		{isogate.Entry{Kind: isogate.KindAdmin, Act: "evidence exported", Actor: "bob", Detail: map[string]string{"signed_in": "passkey"}},
			[]float64{6003}, [][]want{{{"activity_id", 2.0}}}},
		{isogate.Entry{Kind: isogate.KindLanding, Act: "receipt overdue", Destination: "far", Reason: "late"},
			[]float64{2006}, [][]want{{{"severity_id", 4.0}, {"is_alert", true}, {"disposition_id", 15.0}, {"dst_endpoint.name", "far"}}}},
		{isogate.Entry{Kind: isogate.KindLanding, Act: "receipt", Destination: "far"}, []float64{3004}, [][]want{{{"entity.type", "landing"}}}},
	} {
		c.entry.Time = time.UnixMilli(1_800_000_000_000)
		events := ocsfOf(t, c.entry)
		var classes []float64
		for _, e := range events {
			classes = append(classes, e["class_uid"].(float64))
		}
		if !slices.Equal(classes, c.class) {
			t.Errorf("%s %q %d: classes %v, want %v", c.entry.Kind, c.entry.Act, c.entry.Status, classes, c.class)
			continue
		}
		for i, e := range events {
			for _, w := range c.want[i] {
				if got := in(e, w.path); got != w.value {
					t.Errorf("%s %q: %s is %v, want %v", c.entry.Kind, c.entry.Act, w.path, got, w.value)
				}
			}
		}
	}
}

// TestWritersEndWithTheirEntries: what ends the entries ends the file with that error, and a
// full disk is said.
func TestWritersEndWithTheirEntries(t *testing.T) {
	broken := errors.New("the journal broke off")
	for name, write := range map[string]func(*bytes.Buffer) error{
		"csv":   func(b *bytes.Buffer) error { return WriteCSV(b, endsWith(broken)) },
		"ocsf":  func(b *bytes.Buffer) error { return WriteOCSF(b, endsWith(broken)) },
		"jsonl": func(b *bytes.Buffer) error { return WriteJSONL(b, endsWith(broken)) },
	} {
		if err := write(&bytes.Buffer{}); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"csv": WriteCSV(failing{}, ofEntries(everyKind()...)), "ocsf": WriteOCSF(failing{}, ofEntries(everyKind()...)), "jsonl": WriteJSONL(failing{}, ofEntries(everyKind()...))} {
		if !errors.Is(err, errFailing) {
			t.Errorf("%s to a full disk: %v", name, err)
		}
	}
}

func endsWith(err error) iter.Seq2[isogate.Entry, error] {
	return func(yield func(isogate.Entry, error) bool) {
		_ = yield(isogate.Entry{}, nil) && yield(isogate.Entry{}, err)
	}
}
