package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// OCSF's version, class and the numbers of the values used of it
// (https://schema.ocsf.io/1.3.0/classes/http_activity).
const (
	ocsfVersion      = "1.3.0"
	ocsfCategory     = 4    // Network Activity
	ocsfClass        = 4002 // HTTP Activity
	ocsfUnknown      = 0
	ocsfOther        = 99
	ocsfInformation  = 1 // severity
	ocsfLow          = 2
	ocsfAllowed      = 1 // action, disposition
	ocsfDenied       = 2 // action; disposition 2 is Blocked
	ocsfSuccess      = 1 // status
	ocsfFailure      = 2
	ocsfConfidential = 2
)

var ocsfActivities = map[string]int{"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8}

// ocsfCategories maps the first segment of a label to OCSF's categories of data.
var ocsfCategories = map[string]struct {
	id   int
	name string
}{
	"personal": {1, "Personal"}, "ugc": {1, "Personal"}, "identifier": {1, "Personal"}, "usage": {1, "Personal"},
	"billing": {3, "Financial"}, "corporate": {4, "Business"}, "legal": {4, "Business"}, "security": {6, "Security"},
}

type ocsfNamed struct {
	Name string `json:"name"`
}

type ocsfEvent struct {
	ActivityID     int                 `json:"activity_id"`
	ActivityName   string              `json:"activity_name,omitempty"`
	CategoryUID    int                 `json:"category_uid"`
	ClassUID       int                 `json:"class_uid"`
	TypeUID        int                 `json:"type_uid"`
	SeverityID     int                 `json:"severity_id"`
	Time           int64               `json:"time"` // milliseconds
	Duration       int64               `json:"duration,omitempty"`
	StatusID       int                 `json:"status_id"`
	StatusDetail   string              `json:"status_detail,omitempty"`
	ActionID       int                 `json:"action_id"`
	DispositionID  int                 `json:"disposition_id"`
	Metadata       ocsfMetadata        `json:"metadata"`
	Request        ocsfRequest         `json:"http_request"`
	Response       *ocsfResponse       `json:"http_response,omitempty"`
	Source         ocsfNamed           `json:"src_endpoint"`
	Destination    ocsfNamed           `json:"dst_endpoint"`
	Traffic        *ocsfTraffic        `json:"traffic,omitempty"`
	TLS            *ocsfTLS            `json:"tls,omitempty"`
	Classification *ocsfClassification `json:"data_classification,omitempty"`
	Unmapped       ocsfUnmapped        `json:"unmapped"`
}

type ocsfMetadata struct {
	Version  string   `json:"version"`
	Profiles []string `json:"profiles"`
	Product  struct {
		Name       string `json:"name"`
		VendorName string `json:"vendor_name"`
	} `json:"product"`
	UID            isogate.EntryID `json:"uid"`
	Sequence       uint64          `json:"sequence"`
	TenantUID      isogate.Tenant  `json:"tenant_uid"`
	CorrelationUID isogate.EntryID `json:"correlation_uid,omitempty"`
}

type ocsfRequest struct {
	Method string  `json:"http_method,omitempty"`
	URL    ocsfURL `json:"url"`
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
	CategoryID        int    `json:"category_id"`
	Category          string `json:"category"`
	ConfidentialityID int    `json:"confidentiality_id"`
	ClassifierDetails struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"classifier_details"`
	Policy struct {
		Name string `json:"name"`
		UID  string `json:"uid,omitempty"`
	} `json:"policy"`
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

// ExportOCSF writes the egress entries that the filter selects as OCSF events of
// the class HTTP Activity with the profiles data_classification and
// security_control, one JSON object per line. Other kinds of entries are no HTTP
// and left out. It is for event stores; only [Reader.Export] can be verified.
func (r *Reader) ExportOCSF(ctx context.Context, w io.Writer, f Filter) error {
	if f.Kind == "" {
		f.Kind = isogate.KindEgress
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	err := r.scan(ctx, f, func(e *isogate.Entry) error {
		if e.Kind != isogate.KindEgress {
			return nil
		}
		for i := range e.Closes { // an event has one response
			one := *e
			one.ID = isogate.EntryID(fmt.Sprintf("%s-%d", e.ID, i+1))
			one.Of, one.Status, one.DurationUS, one.Closes = e.Closes[i].Of, e.Closes[i].Status, e.Closes[i].DurationUS, nil
			if err := enc.Encode(ocsf(one)); err != nil {
				return err
			}
		}
		if len(e.Closes) > 0 {
			return nil
		}
		return enc.Encode(ocsf(*e))
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func ocsf(e isogate.Entry) ocsfEvent {
	v := ocsfEvent{CategoryUID: ocsfCategory, ClassUID: ocsfClass, SeverityID: ocsfInformation, Time: e.Time.UnixMilli(),
		Duration: e.DurationUS / 1000, StatusDetail: e.Reason, Request: ocsfRequest{e.Method, ocsfURL{e.URL}},
		Source: ocsfNamed{string(e.Source)}, Destination: ocsfNamed{string(e.Destination)},
		Unmapped: ocsfUnmapped{e.Stage, e.Purpose, e.Transit, e.Consent, e.DigestIn, e.DigestOut, e.Fields}}
	v.ActivityID = ocsfActivities[e.Method]
	if v.ActivityID == ocsfUnknown && e.Method != "" {
		v.ActivityID, v.ActivityName = ocsfOther, e.Method
	}
	v.TypeUID = ocsfClass*100 + v.ActivityID
	if e.Stage == isogate.StageRefused {
		v.StatusID, v.SeverityID, v.ActionID, v.DispositionID = ocsfFailure, ocsfLow, ocsfDenied, ocsfDenied
	} else {
		v.ActionID, v.DispositionID = ocsfAllowed, ocsfAllowed
	}
	v.Metadata = ocsfMetadata{Version: ocsfVersion, Profiles: []string{"data_classification", "security_control"},
		UID: e.ID, Sequence: e.Seq, TenantUID: e.Tenant, CorrelationUID: e.Of}
	v.Metadata.Product.Name, v.Metadata.Product.VendorName = "Isogate", "Isogate"
	if e.Stage == isogate.StageOpened {
		v.Metadata.CorrelationUID = e.ID
	}
	if e.Remote != "" && e.Destination == "" {
		v.Destination.Name = e.Remote
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
	if len(e.Fields) > 0 {
		v.Classification = classification(e)
	}
	return v
}

// classification is the category of all fields together: one that they share, or
// Other with the names of those they have.
func classification(e isogate.Entry) *ocsfClassification {
	c := &ocsfClassification{ConfidentialityID: ocsfConfidential}
	names := map[string]int{}
	for _, f := range e.Fields {
		first, _, _ := strings.Cut(string(f.Label), ".")
		if cat, ok := ocsfCategories[first]; ok {
			names[cat.name] = cat.id
		} else {
			names["Other"] = ocsfOther
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	c.Category, c.CategoryID = strings.Join(sorted, ", "), ocsfOther
	if len(sorted) == 1 {
		c.CategoryID = names[sorted[0]]
	}
	c.ClassifierDetails.Name, c.ClassifierDetails.Type = "contract", "Rule"
	c.Policy.Name, c.Policy.UID = string(e.Transit), e.Pack
	return c
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
