package custody

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
)

// Metrics counts what the outside holds, by destination. It is registered as a whole.
type Metrics struct {
	out, overdue, valid, broken, erasures *prometheus.GaugeVec
	made, receipts, refused, fetches      *prometheus.CounterVec
}

// NewMetrics makes the collectors.
func NewMetrics() *Metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"destination"})
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"destination"}, more...))
	}
	return &Metrics{
		out:      gauge("isogate_seal_keys_out", "Seal keys of the tenant that no receipt says were destroyed."),
		overdue:  gauge("isogate_receipts_overdue", "Seal keys whose receipt of destruction has not come in time."),
		valid:    gauge("isogate_landing_statement_valid", "1 while the landing's statement is in force, so that values can be sealed for it."),
		broken:   gauge("isogate_receipts_broken", "1 while what the landing gives as its next receipt is none."),
		erasures: gauge("isogate_erasures_open", "Erasures that the service has not confirmed."),
		made:     counter("isogate_seal_keys_sent_total", "Seal keys that left with a request."),
		receipts: counter("isogate_receipts_total", "Receipts of landings that were verified and recorded."),
		refused:  counter("isogate_receipts_refused_total", "Receipts of landings that do not verify or do not continue the ones before."),
		fetches:  counter("isogate_landing_calls_total", "Calls to landings, by what for and how they ended.", "what", "ended"),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.out, m.overdue, m.valid, m.broken, m.erasures, m.made, m.receipts, m.refused, m.fetches}
}

// forget drops what is said of a destination that has no landing and no keys out.
func (m *Metrics) forget(d isogate.Destination) {
	for _, g := range []*prometheus.GaugeVec{m.out, m.overdue, m.valid, m.broken, m.erasures} {
		g.DeleteLabelValues(string(d))
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
