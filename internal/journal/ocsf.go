package journal

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/isogate/isogate"
)

// OCSF's version and the numbers of the values used of it
// (https://schema.ocsf.io/1.5.0). testdata/ocsf-1.5.0.json has what it asks of the
// classes used, and a test holds every kind of event against that.
const (
	ocsfVersion = "1.5.0"

	ocsfUnknown     = 0
	ocsfOther       = 99
	ocsfInformation = 1 // severity
	ocsfLow         = 2
	ocsfHigh        = 4
	ocsfAllowed     = 1 // action, disposition
	ocsfDenied      = 2 // action; disposition 2 is Blocked
	ocsfDetected    = 15
	ocsfSuccess     = 1 // status
	ocsfFailure     = 2
)

type ocsfClass struct {
	uid, category      int
	name, categoryName string
}

var (
	ocsfHTTP    = ocsfClass{4002, 4, "HTTP Activity", "Network Activity"}
	ocsfFinding = ocsfClass{2006, 2, "Data Security Finding", "Findings"}
	ocsfEntity  = ocsfClass{3004, 3, "Entity Management", "Identity & Access Management"}
	ocsfAPI     = ocsfClass{6003, 6, "API Activity", "Application Activity"}
)

// ocsfEvent is what events of every class have.
type ocsfEvent struct {
	ActivityID   int          `json:"activity_id"`
	ActivityName string       `json:"activity_name,omitempty"`
	CategoryUID  int          `json:"category_uid"`
	CategoryName string       `json:"category_name"`
	ClassUID     int          `json:"class_uid"`
	ClassName    string       `json:"class_name"`
	TypeUID      int          `json:"type_uid"`
	SeverityID   int          `json:"severity_id"`
	Time         int64        `json:"time"` // milliseconds
	Message      string       `json:"message,omitempty"`
	StatusID     int          `json:"status_id"`
	StatusDetail string       `json:"status_detail,omitempty"`
	Metadata     ocsfMetadata `json:"metadata"`
}

type ocsfMetadata struct {
	Version        string          `json:"version"`
	Profiles       []string        `json:"profiles,omitempty"`
	Product        ocsfProduct     `json:"product"`
	UID            string          `json:"uid"`
	Sequence       uint64          `json:"sequence"`
	TenantUID      isogate.Tenant  `json:"tenant_uid"`
	CorrelationUID isogate.EntryID `json:"correlation_uid,omitempty"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

// ocsfNamed is an object of which we know the name alone.
type ocsfNamed struct {
	Name string `json:"name"`
}

// named gives what has no name one: OCSF asks each such object for one.
func named(s string) ocsfNamed { return ocsfNamed{orUnknown(s)} }

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// ocsfUser is a person or a part of the system that acts.
type ocsfUser struct {
	User ocsfNamed `json:"user"`
}

// event is an event of a class about an entry. uid tells several events of one entry
// apart; "" is the first.
func (c ocsfClass) event(e *isogate.Entry, activity int, uid string) ocsfEvent {
	v := ocsfEvent{ActivityID: activity, CategoryUID: c.category, CategoryName: c.categoryName, ClassUID: c.uid, ClassName: c.name,
		TypeUID: c.uid*100 + activity, SeverityID: ocsfInformation, Time: e.Time.UnixMilli(), StatusDetail: e.Reason,
		Metadata: ocsfMetadata{Version: ocsfVersion, Product: ocsfProduct{"Isogate", "Isogate"}, UID: string(e.ID), Sequence: e.Seq, TenantUID: e.Tenant}}
	if uid != "" {
		v.Metadata.UID += "-" + uid
		v.Metadata.CorrelationUID = e.ID
	}
	return v
}

// WriteOCSF writes entries as OCSF events, one JSON object per line. Every entry has
// at least one event: egress HTTP Activity, and a Data Security Finding where it was
// refused for what it carried; what changed by an act Entity Management, and API
// Activity where a person did it who had signed in; an overdue or broken receipt a
// finding. Events never have a value of a payload. They are for event stores; only
// [Reader.Export] can be verified.
func WriteOCSF(w io.Writer, entries iter.Seq2[isogate.Entry, error]) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for e, err := range entries {
		if err != nil {
			return err
		}
		for _, event := range ocsfEvents(&e) {
			if err := enc.Encode(event); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// ocsfEvents are the events of an entry.
func ocsfEvents(e *isogate.Entry) (events []any) {
	if e.Kind == isogate.KindEgress {
		for i := range e.Closes { // an event has one response
			events = append(events, ocsfClosing(e, i))
		}
		if len(e.Closes) == 0 {
			events = append(events, ocsfExchange(e, ""))
		}
		if stopped(e) {
			events = append(events, ocsfStopped(e))
		}
		return events
	}
	if e.Kind == isogate.KindLanding {
		if f := ocsfOutside(e); f != nil {
			events = append(events, *f)
		}
	}
	api := ocsfCall(e)
	if len(events) == 0 && (api == nil || changes(e)) {
		events = append(events, ocsfChange(e))
	}
	if api != nil {
		events = append(events, *api)
	}
	return events
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
