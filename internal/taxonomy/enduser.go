package taxonomy

import "github.com/isogate/isogate"

// notEndUser selects what is about the customer as an organisation, about the
// system, or written by its makers. What it does not select is end-user data, so
// that a label which nobody thought of here is withheld.
//
// Not here, though it looks technical: identifiers of sessions, of content and
// the addresses that carry them, which lead to one person or to what a person
// made; permissions and security events, which are an account's; attributes and
// log lines, whose words nobody fixed.
var notEndUser = []isogate.LabelPattern{
	"billing.**",
	"corporate.**",
	"identifier.app.**",
	"identifier.correlation.**",
	"identifier.destination.**",
	"identifier.resource.id",
	"identifier.tenant.**",
	"legal.agreement",
	"public.**",
	"security.key_id",
	"security.posture",
	"system.**",
	"telemetry.metric.**",
	"telemetry.operation",
	"telemetry.severity",
	"usage.**",
}

// EndUser reports whether a value of label l is data of the tenant's users: about
// a person, made by one, or leading to either. It is what an app's manifest means
// by in-scope end-user data. What nobody judged is, and so is a label that is no
// key; a pack's own label is, unless it stands below one that is not.
//
// The labels of the users themselves (personal, identifier.user), of what they
// write (ugc) and of what they agreed to are among them; the whole list of those
// that are not is short, and above.
func (t *Taxonomy) EndUser(l isogate.Label) bool {
	if _, ok := t.byLabel[l]; !ok {
		return true
	}
	for _, p := range notEndUser {
		if p.Match(l) {
			return false
		}
	}
	return true
}
