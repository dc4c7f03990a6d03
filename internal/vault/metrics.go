package vault

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate/internal/seal"
)

// Metrics is what a vault counts. It is a [prometheus.Collector]; whoever owns the
// registry registers it. No label carries a tenant's, viewer's or key's name.
type Metrics struct {
	keys       *prometheus.GaugeVec   // handling
	destroyed  *prometheus.CounterVec // cause
	opened     *prometheus.CounterVec // outcome
	refused    *prometheus.CounterVec // code
	waiting    prometheus.Gauge
	receipts   prometheus.Counter
	failures   prometheus.Counter
	commit     prometheus.Histogram
	memory     *prometheus.GaugeVec // state
	epoch      prometheus.Gauge
	unwiped    prometheus.Gauge
	wipeErrors prometheus.Counter
	forged     prometheus.Counter
	peers      prometheus.Gauge
	asked      *prometheus.CounterVec // call, result
	adopted    *prometheus.CounterVec // how

	outcomes [3]prometheus.Counter // of opened, by seal.Outcome
}

// NewMetrics returns metrics that are all at zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		keys:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isogate_landing_keys", Help: "Seal keys held."}, []string{"handling"}),
		destroyed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_keys_destroyed_total", Help: "Seal keys destroyed."}, []string{"cause"}),
		opened:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_seals_total", Help: "Seals found in responses, by what became of them."}, []string{"outcome"}),
		refused:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_keys_refused_total", Help: "Seal keys not taken."}, []string{"code"}),
		waiting:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_landing_events_waiting", Help: "Events that are not in a receipt yet."}),
		receipts:  prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_receipts_total", Help: "Receipts signed."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_commit_failures_total", Help: "Writes of events and receipts that failed, and are tried again."}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "isogate_landing_commit_seconds", Help: "Time of one write of events or receipts, synced.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		memory:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isogate_landing_key_memory_bytes", Help: "Memory for seal keys: reserved, and locked against swapping."}, []string{"state"}),
		epoch:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_landing_epoch_seconds", Help: "When the epoch in force began, since 1970."}),
		unwiped:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_landing_keys_unwiped", Help: "Ended keys of which the place they were kept in is not known to be wiped. More than 0 for more than seconds is an alarm."}),
		wipeErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_wipe_failures_total", Help: "Wipes of kept keys that failed, and are tried again."}),
		forged:     prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_cluster_forged_total", Help: "Rows of the cluster's database that no member wrote. More than 0 is an alarm."}),
		peers:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_landing_cluster_peers", Help: "Other landings of the cluster that are heard of."}),
		asked:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_cluster_calls_total", Help: "Calls of other landings of the cluster."}, []string{"call", "result"}),
		adopted:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_cluster_keys_total", Help: "Keys that came from, or went to, another landing of the cluster."}, []string{"how"}),
	}
	for outcome, name := range [...]string{seal.Withheld: "withheld", seal.Expired: "expired", seal.Revealed: "revealed"} {
		m.outcomes[outcome] = m.opened.WithLabelValues(name)
	}
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.keys, m.destroyed, m.opened, m.refused, m.waiting, m.receipts, m.failures, m.commit, m.memory, m.epoch, m.unwiped, m.wipeErrors,
		m.forged, m.peers, m.asked, m.adopted}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(ch)
	}
}
