package journal

import (
	"strings"

	"github.com/isogate/isogate"
)

// ocsfEntityEvent is an event of the class Entity Management.
type ocsfEntityEvent struct {
	ocsfEvent
	Actor   ocsfUser   `json:"actor"`
	Comment string     `json:"comment,omitempty"`
	Entity  ocsfObject `json:"entity"`
}

// ocsfObject is a managed entity, and a resource.
type ocsfObject struct {
	Name    string `json:"name,omitempty"`
	UID     string `json:"uid"`
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
}

// ocsfAPIEvent is an event of the class API Activity.
type ocsfAPIEvent struct {
	ocsfEvent
	Actor     ocsfUser     `json:"actor"`
	API       ocsfOp       `json:"api"`
	Source    ocsfService  `json:"src_endpoint"`
	Resources []ocsfObject `json:"resources"`
}

type ocsfOp struct {
	Operation string    `json:"operation"`
	Service   ocsfNamed `json:"service"`
}

// ocsfService is the endpoint that a call came from: entries have no addresses of
// people, and so it is how they signed in.
type ocsfService struct {
	Name string `json:"svc_name"`
}

// ocsfVerbs are the activities of Entity Management by the last word of an act. What
// is not here is Other, by the act's own name.
var ocsfVerbs = map[string]int{
	"created": 1, "added": 1, "made": 1, "declared": 1, "requested": 1, "given": 1, "proposed": 1, "sent": 1, "asked": 1,
	"exported": 2,
	"modified": 3, "approved": 3, "deferred": 3, "rotated": 3, "used": 3, "again": 3, "commented": 3,
	"removed": 4, "taken": 4, "lost": 4, "withdrawn": 4, "shredded": 4, "ended": 4, "out": 4,
	"granted": 8, "unblocked": 8,
	"denied": 9, "revoked": 9, "expired": 9, "blocked": 9,
	"loaded": 10, "activated": 10, "in": 10,
}

// ocsfCalls are the activities of API Activity by those of Entity Management, where
// they are not the same.
var ocsfCalls = map[int]int{8: 3, 9: 3, 10: ocsfOther}

// verb is the activity of an act, and the act where OCSF has no name for it.
func verb(act string) (int, string) {
	last := act[strings.LastIndexByte(act, ' ')+1:]
	if id, ok := ocsfVerbs[last]; ok {
		return id, ""
	}
	return ocsfOther, orUnknown(act)
}

// changes reports whether an act of a person who signed in changed something, other
// than that they came, went, or took a copy.
func changes(e *isogate.Entry) bool {
	if e.Kind != isogate.KindAdmin {
		return true
	}
	switch e.Act[strings.LastIndexByte(e.Act, ' ')+1:] {
	case "in", "out", "again", "exported":
		return false
	}
	return true
}

// failed reports whether an act is that something was not taken.
func failed(act string) bool { return strings.HasSuffix(act, "refused") }

func ocsfChange(e *isogate.Entry) ocsfEntityEvent {
	activity, name := verb(e.Act)
	v := ocsfEntityEvent{ocsfEvent: ocsfEntity.event(e, activity, ""), Actor: ocsfUser{named(e.Actor)}, Comment: e.Reason, Entity: entityOf(e)}
	v.ActivityName, v.StatusID, v.Message = name, ocsfSuccess, e.Act
	if failed(e.Act) {
		v.StatusID, v.SeverityID = ocsfFailure, ocsfLow
	}
	return v
}

// ocsfCall is the call by which a person who had signed in did something; nil for
// what a part of the system did.
func ocsfCall(e *isogate.Entry) *ocsfAPIEvent {
	how := e.Detail["signed_in"]
	if how == "" {
		return nil
	}
	activity, name := verb(e.Act)
	if other, ok := ocsfCalls[activity]; ok {
		activity = other
	}
	if activity == ocsfOther {
		name = orUnknown(e.Act)
	}
	v := &ocsfAPIEvent{ocsfEvent: ocsfAPI.event(e, activity, "call"), Actor: ocsfUser{named(e.Actor)}, API: ocsfOp{orUnknown(e.Act), ocsfNamed{"Isogate Hub"}},
		Source: ocsfService{how}, Resources: []ocsfObject{entityOf(e)}}
	v.ActivityName, v.StatusID = name, ocsfSuccess
	if failed(e.Act) {
		v.StatusID = ocsfFailure
	}
	return v
}

// entityOf is what an entry is about.
func entityOf(e *isogate.Entry) ocsfObject {
	d := e.Detail
	switch e.Kind {
	case isogate.KindConsent:
		o := ocsfObject{Name: d["party"], UID: string(e.Consent), Type: "consent"}
		if o.UID == "" {
			o.UID = string(e.ID)
		}
		return o
	case isogate.KindPack:
		return ocsfObject{Name: d["name"], UID: orUnknown(e.Pack), Type: "policy pack", Version: d["version"]}
	case isogate.KindKey:
		return ocsfObject{Name: d["primary"], UID: string(e.ID), Type: "key"}
	case isogate.KindLanding:
		return ocsfObject{Name: string(e.Destination), UID: string(e.ID), Type: "landing"}
	case isogate.KindUpdate:
		return ocsfObject{Name: d["name"], UID: string(e.ID), Type: "update", Version: d["version"]}
	}
	// "role given" is about a role, "person removed" about a person, whom both name.
	o := ocsfObject{Name: d["person"], UID: string(e.ID), Type: "installation"}
	if what, _, more := strings.Cut(e.Act, " "); more {
		o.Type = what
	}
	if e.Act == "signed in" || e.Act == "signed out" || e.Act == "proved again" || e.Act == "sign-ins refused" {
		o.Type = "session"
	}
	return o
}
