package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
)

// Metrics counts what the gateway does. Labels are names that the pack and the
// configuration declare, never anything a caller sent.
type Metrics struct {
	requests *prometheus.CounterVec
	fields   *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inflight prometheus.Gauge

	tunnels   prometheus.Gauge
	inspected prometheus.Gauge

	sealed          *prometheus.CounterVec
	keys            *prometheus.CounterVec
	landingRefusals *prometheus.CounterVec
	unconfirmed     prometheus.Counter

	byAction [isogate.Allow + 1]prometheus.Counter // resolved once: a request has many fields
}

// NewMetrics makes the collectors and registers them with r.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_requests_total",
			Help: "Requests by transit, decision, status of the answer and reason of a refusal."}, []string{"transit", "decision", "status", "reason"}),
		fields: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_fields_total",
			Help: "Values that left or were withheld, by the action applied."}, []string{"action"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_body_bytes_total",
			Help: "Bytes of request bodies, in from callers and out to destinations."}, []string{"direction"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "isogate_gateway_request_seconds",
			Help: "Time from a request's head to the end of its answer.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"decision"}),
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "isogate_gateway_requests_in_flight", Help: "Requests under way."}),
	}
	m.sealed = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_sealed_values_total",
		Help: "Values that left sealed, by their handling."}, []string{"handling"})
	m.keys = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_seal_keys_total",
		Help: "Seal keys that requests used, by handling."}, []string{"handling"})
	m.landingRefusals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isogate_gateway_landing_refusals_total",
		Help: "Requests that a landing refused, by its code."}, []string{"code"})
	m.unconfirmed = prometheus.NewCounter(prometheus.CounterOpts{Name: "isogate_gateway_unconfirmed_keys_total",
		Help: "Requests whose answer did not say that the landing holds the seal keys that it was sent."})
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "isogate_gateway_open_connections",
		Help: "Connections of apps that are open, by how they pass: unread in a tunnel, or inspected."}, []string{"mode"})
	m.tunnels, m.inspected = open.WithLabelValues("tunnel"), open.WithLabelValues("inspect")
	for _, c := range []prometheus.Collector{m.requests, m.fields, m.bytes, m.seconds, m.inflight, m.sealed, m.keys, m.landingRefusals, m.unconfirmed, open} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	for a := range m.byAction {
		m.byAction[a] = m.fields.WithLabelValues(isogate.Action(a).String())
	}
	return m, nil
}

func (m *Metrics) done(p *passage, status int, seconds float64) {
	decision, reason := isogate.Released.String(), ""
	if p.refused != nil {
		decision, reason = isogate.Refused.String(), p.refused.code
	}
	m.requests.WithLabelValues(p.transitName(), decision, strconv.Itoa(status), reason).Inc()
	m.seconds.WithLabelValues(decision).Observe(seconds)
	m.bytes.WithLabelValues("in").Add(float64(p.bytesIn))
	m.bytes.WithLabelValues("out").Add(float64(p.bytesOut))
	for _, f := range p.entry.Fields {
		m.byAction[f.Action].Add(float64(f.N))
		if f.Sealed {
			m.sealed.WithLabelValues(f.Handling).Add(float64(f.N))
		}
	}
}
