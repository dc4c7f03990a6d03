package journal

import "github.com/prometheus/client_golang/prometheus"

// Metrics is what a journal counts. It is a [prometheus.Collector]; whoever owns
// the registry registers it. No label carries a name of a tenant, source or field.
type Metrics struct {
	appended prometheus.Counter
	failures prometheus.Counter
	group    prometheus.Histogram
	commit   prometheus.Histogram
	next     prometheus.Gauge
	sealed   prometheus.Gauge
	seal     prometheus.Histogram
	unsealed prometheus.Counter
}

// NewMetrics returns metrics that are all at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		appended: prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_journal_entries_total", Help: "Entries made durable."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_journal_commit_failures_total", Help: "Commits that failed; nothing of them counts."}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "isogate_journal_commit_entries", Help: "Entries per commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12)}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "isogate_journal_commit_seconds", Help: "Time of one commit, synced.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		next:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_journal_entries", Help: "Entries in the journal."}),
		sealed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_journal_sealed_entries", Help: "Entries under the newest signed checkpoint."}),
		seal: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "isogate_journal_seal_seconds", Help: "Time to seal one batch, from reading it to its published checkpoint.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		unsealed: prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_journal_seal_failures_total", Help: "Attempts to seal that failed."}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.appended, m.failures, m.group, m.commit, m.next, m.sealed, m.seal, m.unsealed}
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
