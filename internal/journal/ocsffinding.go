package journal

import (
	"net/http"

	"github.com/isogate/isogate"
)

// ocsfFindingEvent is an event of the class Data Security Finding.
type ocsfFindingEvent struct {
	ocsfEvent
	ActionID      int             `json:"action_id"`
	DispositionID int             `json:"disposition_id"`
	IsAlert       bool            `json:"is_alert"`
	Info          ocsfFindingInfo `json:"finding_info"`
	Source        *ocsfNamed      `json:"src_endpoint,omitempty"`
	Destination   ocsfNamed       `json:"dst_endpoint"`
}

type ocsfFindingInfo struct {
	UID     string   `json:"uid"`
	Title   string   `json:"title"`
	Desc    string   `json:"desc,omitempty"`
	Created int64    `json:"created_time"`
	Types   []string `json:"types"`
}

const (
	ocsfCreate = 1 // activity
	ocsfNew    = 1 // status of a finding
)

// stopped reports whether an entry tells of data that would have left and did not:
// somebody known was refused for where it should go or what it carried, and not
// because something was out of order here or there.
func stopped(e *isogate.Entry) bool {
	switch e.Status {
	case http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return e.Stage == isogate.StageRefused && e.Source != ""
	}
	return false
}

func ocsfStopped(e *isogate.Entry) ocsfFindingEvent {
	source := named(string(e.Source))
	v := finding(e, "Data was kept from leaving", "egress refused")
	v.SeverityID, v.ActionID, v.DispositionID, v.Source = ocsfLow, ocsfDenied, ocsfDenied, &source
	return v
}

// ocsfAlarms are the acts of landing entries that mean that a promise about what is
// outside may be broken, by what is found. internal/custody writes them.
var ocsfAlarms = map[string]string{
	"receipt overdue":  "The receipt of keys' destruction is overdue",
	"receipt refused":  "A landing's receipts do not follow one another",
	"receipt given up": "The receipt of keys' destruction never came",
}

// ocsfOutside is the finding that a landing entry is, or nil.
func ocsfOutside(e *isogate.Entry) *ocsfFindingEvent {
	title, alarm := ocsfAlarms[e.Act]
	if !alarm {
		return nil
	}
	v := finding(e, title, e.Act)
	v.SeverityID, v.ActionID, v.DispositionID, v.IsAlert = ocsfHigh, ocsfAllowed, ocsfDetected, true
	return &v
}

func finding(e *isogate.Entry, title, kind string) ocsfFindingEvent {
	v := ocsfFindingEvent{ocsfEvent: ocsfFinding.event(e, ocsfCreate, "finding"), Destination: named(destinationOf(e)),
		Info: ocsfFindingInfo{UID: string(e.ID), Title: title, Desc: e.Reason, Created: e.Time.UnixMilli(), Types: []string{kind}}}
	v.StatusID, v.Metadata.Profiles = ocsfNew, []string{"security_control"}
	return v
}
