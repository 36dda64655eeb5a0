//go:build deps

// Package deps keeps the libraries of work under way in go.mod. It goes away.
package deps

import (
	_ "cel.dev/cel-go/cel"
	_ "github.com/cenkalti/backoff/v5"
	_ "github.com/dapr/dapr/pkg/proto/common/v1"
	_ "github.com/dapr/dapr/pkg/proto/internals/v1"
	_ "github.com/dapr/dapr/pkg/proto/runtime/v1"
	_ "github.com/dapr/dapr/pkg/proto/sentry/v1"
	_ "github.com/dapr/go-sdk/client"
	_ "github.com/dapr/go-sdk/service/grpc"
	_ "github.com/dapr/go-sdk/service/http"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/client_golang/prometheus/collectors"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/prometheus/common/expfmt"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/sony/gobreaker/v2"
	_ "go.opentelemetry.io/otel"
	_ "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	_ "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	_ "go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	_ "go.opentelemetry.io/otel/exporters/zipkin"
	_ "go.opentelemetry.io/otel/propagation"
	_ "go.opentelemetry.io/otel/sdk/trace"
	_ "go.opentelemetry.io/otel/sdk/trace/tracetest"
	_ "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/health/grpc_health_v1"
	_ "google.golang.org/grpc/reflection"
	_ "modernc.org/sqlite"
)
