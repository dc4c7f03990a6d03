package hub

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

var healthPages = []page{
	{pattern: "GET /health", need: access.Read, stale: true, do: (*Hub).healthPage},
}

// Health is whether everything runs that the promises rest on.
type Health struct {
	At time.Time `json:"at"`
	// Ready says that everything that may leave could leave now; Why says why not.
	Ready   bool     `json:"ready"`
	Why     string   `json:"why,omitempty"`
	Notices []Notice `json:"notices"`
	// Gateway is the name of the gateway that answers.
	Gateway      string            `json:"gateway,omitempty"`
	Pack         *PackStanding     `json:"pack,omitempty"`
	Gateways     []GatewayStanding `json:"gateways"`
	Judged       []PackUse         `json:"judged_by"` // in the last hour
	Destinations []Reach           `json:"destinations"`
	Journal      JournalStanding   `json:"journal"`
	Keys         *KeyStanding      `json:"keys,omitempty"`
	Certificates []Certificate     `json:"certificates"`
	Landings     []Landing         `json:"landings"`
}

// GatewayStanding is a gateway of the tenant, as the newest entry of the journal has
// it in which it says which pack it judges by.
type GatewayStanding struct {
	Name    string          `json:"name"`
	Pack    string          `json:"pack"` // digest
	Title   string          `json:"title,omitempty"`
	Act     string          `json:"act"`
	At      time.Time       `json:"at"`
	Entry   isogate.EntryID `json:"entry"`
	Stopped bool            `json:"stopped"` // it said that it ends
	Here    bool            `json:"here"`    // it is the one that answers
}

// PackUse is how many requests a pack judged.
type PackUse struct {
	Pack     string    `json:"pack"`
	Requests uint64    `json:"requests"`
	Last     time.Time `json:"last"`
}

// Reach is how a destination answers, counted over 24 hours.
type Reach struct {
	Name     string `json:"name"`
	Released uint64 `json:"released"`
	Refused  uint64 `json:"refused"`
	// Failed were released and answered with a status of 500 or more, by the other side or,
	// where it could not be reached, by the gateway.
	Failed uint64 `json:"failed"`
	// MeanMS is the mean time of released requests with an end, from the first byte to the
	// last, in milliseconds.
	MeanMS float64   `json:"mean_ms"`
	Last   time.Time `json:"last"`
}

// Acts by which a gateway says what it judges by.
const (
	packLoaded     = "pack loaded"
	packRefused    = "pack refused" // a new one; it stays with the one it names
	gatewayStopped = "gateway stopped"
)

// Health looks at everything that runs.
func (h *Hub) Health(ctx context.Context, now time.Time) (*Health, error) {
	out := &Health{At: now.UTC(), Ready: true, Gateways: []GatewayStanding{}, Judged: []PackUse{}, Destinations: []Reach{}, Certificates: []Certificate{}, Landings: []Landing{}}
	err := h.ledger.InTouch()
	if r := h.running; r != nil {
		pack, keys := r.Pack(), r.Keys()
		out.Gateway, out.Pack, out.Keys, out.Certificates, err = r.Gateway(), &pack, &keys, r.Certificates(), r.Ready()
		slices.SortStableFunc(out.Certificates, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	}
	if err != nil {
		out.Ready, out.Why = false, err.Error()
	}
	if h.custody != nil {
		out.Landings = h.custody.Landings()
	}
	if out.Journal, err = h.journalStanding(ctx); err != nil {
		return nil, err
	}
	if err = h.healthOfTraffic(ctx, out, now); err != nil && !errors.Is(err, trail.ErrBehind) {
		return nil, err
	}
	out.Notices, err = h.notices(ctx, now)
	return out, err
}

// healthOfTraffic is what the journal's entries say of gateways, keys and destinations.
func (h *Hub) healthOfTraffic(ctx context.Context, out *Health, now time.Time) (err error) {
	if h.trail == nil {
		return nil
	}
	if out.Gateways, err = h.gateways(ctx); err != nil {
		out.Gateways = []GatewayStanding{}
		return err
	}
	if out.Keys != nil {
		if err := h.keyAge(ctx, out.Keys); err != nil {
			return err
		}
	}
	judged, err := h.trail.Tally(ctx, trail.Query{Kind: isogate.KindEgress, Since: now.Add(-time.Hour)}, trail.ByPack)
	if err != nil {
		return err
	}
	for _, g := range judged {
		if g.Key[0] != "" { // refused before anything was judged
			out.Judged = append(out.Judged, PackUse{Pack: g.Key[0], Requests: g.Rows, Last: g.Last.UTC()})
		}
	}
	slices.SortFunc(out.Judged, func(a, b PackUse) int { return b.Last.Compare(a.Last) })
	groups, err := h.trail.Tally(ctx, trail.Query{Kind: isogate.KindEgress, Since: now.Add(-24 * time.Hour)}, trail.ByDestination)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Key[0] == "" { // no way matched
			continue
		}
		r := Reach{Name: g.Key[0], Released: g.Released, Refused: g.Refused, Failed: g.Failed, Last: g.Last.UTC()}
		if ended := g.Released - min(g.Open, g.Released); ended > 0 {
			r.MeanMS = float64(g.Took.Microseconds()) / 1000 / float64(ended)
		}
		out.Destinations = append(out.Destinations, r)
	}
	slices.SortFunc(out.Destinations, func(a, b Reach) int {
		return cmp.Or(cmp.Compare(b.Failed, a.Failed), cmp.Compare(b.Released, a.Released), strings.Compare(a.Name, b.Name))
	})
	return nil
}
