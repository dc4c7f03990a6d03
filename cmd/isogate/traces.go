package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traces sends spans to an OTLP collector. The nil value sends none.
type traces struct{ provider *sdktrace.TracerProvider }

// dialFunc opens a connection; it is the guarded dialer's.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// newTraces makes the exporter, or nil when url is empty. The collector is
// reached through the guarded dialer like everything else.
func newTraces(ctx context.Context, url string, dial dialFunc) (*traces, error) {
	if url == "" {
		return nil, nil //nolint:nilnil // nil is the traces that send nothing
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, ForceAttemptHTTP2: true}}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return &traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "isogate"))))}, nil
}

func (t *traces) tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/isogate/isogate")
}

func (t *traces) stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
