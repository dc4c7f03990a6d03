package journal

import (
	"fmt"
	"strings"

	"github.com/isogate/isogate"
)

// ocsfMethods are the activities of HTTP Activity by method.
var ocsfMethods = map[string]int{"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8}

// ocsfCategories maps the first segment of a label to OCSF's categories of data.
var ocsfCategories = map[string]struct {
	id   int
	name string
}{
	"personal": {1, "Personal"}, "ugc": {1, "Personal"}, "identifier": {1, "Personal"}, "usage": {1, "Personal"},
	"billing": {3, "Financial"}, "corporate": {4, "Business"}, "legal": {4, "Business"}, "security": {6, "Security"},
}

const ocsfConfidential = 2 // confidentiality

// ocsfHTTPEvent is an event of the class HTTP Activity.
type ocsfHTTPEvent struct {
	ocsfEvent
	Duration        int64                `json:"duration,omitempty"` // milliseconds
	ActionID        int                  `json:"action_id"`
	DispositionID   int                  `json:"disposition_id"`
	Request         ocsfRequest          `json:"http_request"`
	Response        *ocsfResponse        `json:"http_response,omitempty"`
	Source          ocsfNamed            `json:"src_endpoint"`
	Destination     ocsfNamed            `json:"dst_endpoint"`
	Traffic         *ocsfTraffic         `json:"traffic,omitempty"`
	TLS             *ocsfTLS             `json:"tls,omitempty"`
	Classifications []ocsfClassification `json:"data_classifications,omitempty"`
	Unmapped        ocsfUnmapped         `json:"unmapped"`
}

type ocsfRequest struct {
	Method string   `json:"http_method,omitempty"`
	URL    *ocsfURL `json:"url,omitempty"`
}

type ocsfURL struct {
	Path string `json:"path"`
}

type ocsfResponse struct {
	Code int `json:"code"`
}

type ocsfTraffic struct {
	BytesOut int64 `json:"bytes_out"`
}

type ocsfTLS struct {
	Version string `json:"version"`
}

type ocsfClassification struct {
	CategoryID        int            `json:"category_id"`
	Category          string         `json:"category"`
	ConfidentialityID int            `json:"confidentiality_id"`
	Total             int64          `json:"total"` // values
	Classifier        ocsfClassifier `json:"classifier_details"`
	Policy            *ocsfPolicy    `json:"policy,omitempty"`
}

type ocsfClassifier struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type ocsfPolicy struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
}

// ocsfUnmapped is what OCSF has no attribute for.
type ocsfUnmapped struct {
	Stage     isogate.Stage   `json:"stage,omitempty"`
	Purpose   string          `json:"purpose,omitempty"`
	Transit   isogate.Transit `json:"transit,omitempty"`
	Consent   isogate.EntryID `json:"consent,omitempty"`
	DigestIn  string          `json:"digest_in,omitempty"`
	DigestOut string          `json:"digest_out,omitempty"`
	Fields    []isogate.Field `json:"fields,omitempty"`
}

// ocsfClosing is the event of one of several releases that an entry ends.
func ocsfClosing(e *isogate.Entry, i int) ocsfHTTPEvent {
	one := *e
	one.Of, one.Status, one.DurationUS, one.Closes = e.Closes[i].Of, e.Closes[i].Status, e.Closes[i].DurationUS, nil
	return ocsfExchange(&one, fmt.Sprint(i+1))
}

func ocsfExchange(e *isogate.Entry, uid string) ocsfHTTPEvent {
	activity, name := ocsfMethods[e.Method], ""
	if activity == ocsfUnknown && e.Method != "" {
		activity, name = ocsfOther, e.Method
	}
	v := ocsfHTTPEvent{ocsfEvent: ocsfHTTP.event(e, activity, uid), Duration: e.DurationUS / 1000, ActionID: ocsfAllowed, DispositionID: ocsfAllowed,
		Request: ocsfRequest{Method: e.Method}, Source: named(string(e.Source)), Destination: named(destinationOf(e)),
		Classifications: classifications(e), Unmapped: ocsfUnmapped{e.Stage, e.Purpose, e.Transit, e.Consent, e.DigestIn, e.DigestOut, e.Fields}}
	v.ActivityName = name
	v.Metadata.Profiles = []string{"data_classification", "security_control"}
	v.Metadata.CorrelationUID = e.Of
	if e.Stage == isogate.StageOpened {
		v.Metadata.CorrelationUID = e.ID
	}
	if e.URL != "" {
		v.Request.URL = &ocsfURL{e.URL}
	}
	if e.Stage == isogate.StageRefused {
		v.StatusID, v.SeverityID, v.ActionID, v.DispositionID = ocsfFailure, ocsfLow, ocsfDenied, ocsfDenied
	}
	if e.Status != 0 {
		v.Response = &ocsfResponse{e.Status}
		v.StatusID = ocsfSuccess
		if e.Status >= 400 {
			v.StatusID = ocsfFailure
		}
	}
	if e.BytesOut > 0 {
		v.Traffic = &ocsfTraffic{e.BytesOut}
	}
	if e.TLS != "" {
		v.TLS = &ocsfTLS{e.TLS}
	}
	return v
}

// destinationOf is the destination of ours, or the host of an app's remote.
func destinationOf(e *isogate.Entry) string {
	if e.Destination == "" {
		return e.Remote
	}
	return string(e.Destination)
}

// classifications are the categories of an entry's fields, in the order of their names.
func classifications(e *isogate.Entry) (list []ocsfClassification) {
	total, id := map[string]int64{}, map[string]int{}
	for _, f := range e.Fields {
		first, _, _ := strings.Cut(string(f.Label), ".")
		cat, ok := ocsfCategories[first]
		if !ok {
			cat.id, cat.name = ocsfOther, "Other"
		}
		total[cat.name] += int64(f.N)
		id[cat.name] = cat.id
	}
	var policy *ocsfPolicy
	if e.Transit != "" || e.Pack != "" {
		policy = &ocsfPolicy{string(e.Transit), e.Pack}
	}
	for _, name := range sortedKeys(id) {
		list = append(list, ocsfClassification{id[name], name, ocsfConfidential, total[name], ocsfClassifier{"contract", "Rule"}, policy})
	}
	return list
}
