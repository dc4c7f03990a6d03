package landing

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is what the edges count. It is a [prometheus.Collector]; whoever owns the
// registry registers it. No label carries a tenant's, viewer's or key's name.
type Metrics struct {
	refused  *prometheus.CounterVec // code
	signIns  *prometheus.CounterVec // outcome
	callOuts *prometheus.CounterVec // outcome
	erasures *prometheus.GaugeVec   // state
	over     prometheus.Counter
	unread   prometheus.Counter
}

// NewMetrics returns metrics that are all at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_refused_total", Help: "Requests refused at the edges."}, []string{"code"}),
		signIns:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_sign_ins_total", Help: "Viewers that signed in, or failed to."}, []string{"outcome"}),
		callOuts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_landing_erasure_calls_total", Help: "Calls of the service about erasures."}, []string{"outcome"}),
		erasures: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isogate_landing_erasures", Help: "Erasures that the service has not confirmed. More than 0 overdue is an alarm."}, []string{"state"}),
		over:     prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_over_measure_total", Help: "Responses in which seals were withheld, for their viewer had seen too many in a minute."}),
		unread:   prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_landing_unread_total", Help: "Responses that were shown with their seals, for the service had encoded or cut them."}),
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.refused, m.signIns, m.callOuts, m.erasures, m.over, m.unread}
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

// overMeasure says that a viewer has seen as many values as one may in a minute.
func (l *Landing) overMeasure(viewer string) {
	l.metrics.over.Inc()
	l.logger.Warn("a viewer has seen as many sealed values as one may in a minute; further ones are withheld", slog.String("viewer", viewer))
}

// broken logs what failed here and says so to whoever asked, without the cause.
func (l *Landing) broken(what string, err error) *refusal {
	l.logger.Error("something failed here", slog.String("what", what), slog.Any("error", err))
	return &refusal{status: 503, code: codeInternal, detail: what + "; see the landing side's log", retry: 5}
}
