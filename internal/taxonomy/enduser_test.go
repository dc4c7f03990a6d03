package taxonomy

import (
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// Which shipped labels are not end-user data is decided one by one: a new label
// is end-user data until somebody adds it here too.
func TestWhatIsNotEndUserData(t *testing.T) {
	want := strings.Fields(`
		billing.amount billing.document billing.payment_method billing.subscription billing.tax_id
		corporate.customer.name corporate.customer.profile corporate.engagement
		identifier.app.id identifier.correlation.request_id identifier.correlation.trace_id identifier.destination.id identifier.resource.id
		identifier.tenant.domain identifier.tenant.organisation_id identifier.tenant.site_id
		legal.agreement
		public.contact public.documentation public.product public.standard
		security.key_id security.posture
		system.configuration system.cursor system.flag system.host system.media_type system.metadata system.page system.size system.status
		system.timestamp system.version
		telemetry.metric.name telemetry.metric.value telemetry.operation telemetry.severity
		usage.count usage.feature`)
	var got []string
	for _, d := range Default().All() {
		if !Default().EndUser(d.Label) {
			got = append(got, string(d.Label))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("not end-user data:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is about persons, what they made, what nobody judged and what is no key
// is end-user data.
func TestWhatIsEndUserData(t *testing.T) {
	for _, l := range []isogate.Label{
		"personal.contact.email", "personal.special.health", "ugc.title", "ugc.file.content", "identifier.user.account_id", "identifier.session.id",
		"identifier.content.id", "identifier.resource.url", "security.permission", "security.event", "legal.consent", "telemetry.attribute",
		isogate.Unclassified, isogate.Opaque, "", "nosuch.label", "system.nosuch", "personal",
	} {
		if !Default().EndUser(l) {
			t.Errorf("%q is not end-user data", l)
		}
	}
	if zero := new(Taxonomy); !zero.EndUser("system.metadata") {
		t.Error("the zero taxonomy knows a label that is not end-user data")
	}
	defs, err := Parse("taxonomy.yaml", []byte(`labels:
  - {label: weather.forecast, definition: What the weather will be, examples: [rain, sun], not: a mood (ugc.body), treat: token}
  - {label: system.rack, definition: Where a server stands, examples: [r1, r2], not: a desk (personal.location.precise), treat: token}
  - {label: personal.shoe_size, definition: The size of a shoe, examples: ["38", "44"], not: a file's size (system.size), treat: token}
`))
	if err != nil {
		t.Fatal(err)
	}
	extended, err := Default().Extend(defs)
	if err != nil {
		t.Fatal(err)
	}
	for l, want := range map[isogate.Label]bool{"weather.forecast": true, "system.rack": false, "personal.shoe_size": true} {
		if got := extended.EndUser(l); got != want {
			t.Errorf("%s of a pack: end-user data %v, want %v", l, got, want)
		}
	}
}

// A label whose default is plaintext is words of the product's makers, never a
// user's and so outside of what a grant withholds.
func TestNoEndUserDataIsPlainByDefault(t *testing.T) {
	for _, d := range Default().All() {
		if d.Treat > isogate.Token && Default().EndUser(d.Label) {
			t.Errorf("%s is end-user data and leaves as %s by default", d.Label, d.Treat)
		}
	}
}
