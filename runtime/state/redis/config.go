package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/pillion-dev/pillion/runtime/state"
)

const (
	defaultPort    = "6379"
	defaultRetries = 3
	// Bounds of one attempt.
	dialTimeout  = 5 * time.Second
	readTimeout  = 3 * time.Second
	writeTimeout = 3 * time.Second
	poolSize     = 20
	idleTimeout  = 5 * time.Minute
)

// A Config says which server a store keeps its items on, and how it is reached.
type Config struct {
	// Name is the component's, for errors.
	Name string
	// Host is host:port.
	Host               string
	Username, Password string
	DB                 int
	// TLS is nil without it.
	TLS *tls.Config
	// TTL is how long items live that do not say it themselves; 0: for ever.
	TTL time.Duration
	// Retries are how often an attempt is made again that has provably changed
	// nothing: a read, or one that did not reach the server. The waits between
	// them double from RetryMin to RetryMax.
	Retries            int
	RetryMin, RetryMax time.Duration

	Dial, Read, Write, Pool, Idle, MaxAge time.Duration
	Connections, MinIdle                  int
}

// FromMetadata reads the metadata of Dapr's state.redis.
func FromMetadata(name string, metadata map[string]string) (Config, error) {
	p := state.NewProperties(metadata)
	ms := func(fallback time.Duration, names ...string) time.Duration {
		return p.Duration(fallback, time.Millisecond, names...)
	}
	cfg := Config{
		Name:     name,
		Username: p.String("", "redisUsername"), Password: p.String("", "redisPassword"), DB: p.Int(0, "redisDB"),
		TTL:     time.Duration(p.Int(0, "ttlInSeconds")) * time.Second,
		Retries: retries(p.String("", "redisMaxRetries", "maxRetries"), p),

		RetryMin: ms(8*time.Millisecond, "redisMinRetryInterval"),
		RetryMax: ms(512*time.Millisecond, "redisMaxRetryInterval", "maxRetryBackoff"),

		Dial: ms(dialTimeout, "dialTimeout"), Read: ms(readTimeout, "readTimeout"), Write: ms(writeTimeout, "writeTimeout"),
		Pool: ms(0, "poolTimeout"), Idle: ms(idleTimeout, "idleTimeout"), MaxAge: ms(0, "maxConnAge"),

		Connections: p.Int(poolSize, "poolSize"), MinIdle: p.Int(0, "minIdleConns"),
	}
	unsupported(p)
	var err error
	if cfg.Host, err = host(p.String("", "redisHost"), p.String("", "redisPort")); err != nil {
		return cfg, err
	}
	if cfg.TLS, err = transport(p, cfg.Host); err != nil {
		return cfg, err
	}
	return cfg, p.Err()
}

// unsupported refuses what Dapr's store can and this one cannot.
func unsupported(p *state.Properties) {
	if kind := p.String("node", "redisType"); !strings.EqualFold(kind, "node") {
		p.Refuse("redisType", kind, "not supported: a transaction needs all its keys on one server; use node")
	}
	if p.Bool("failover") {
		p.Refuse("failover", "true", "not supported: name the server itself in redisHost")
	}
	for _, name := range []string{"useEntraID", "useAzureAD", "useOIDC"} {
		if p.Bool(name) {
			p.Refuse(name, "true", "not supported: give redisUsername and redisPassword")
		}
	}
	if indexes := p.String("", "queryIndexes"); indexes != "" {
		p.Refuse("queryIndexes", "…", "not supported: no store here can be queried")
	}
}

// retries reads Dapr's number, of which -1 is none and 0 the default.
func retries(text string, p *state.Properties) int {
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case text == "" || text == "0":
		return defaultRetries
	case err != nil || n < -1:
		p.Refuse("redisMaxRetries", text, "no number of -1 or more")
		return 0
	}
	return max(int(n), 0)
}

func host(given, port string) (string, error) {
	if given == "" {
		return "", errors.New("redisHost: missing; it is the server's host:port")
	}
	if strings.Contains(given, ",") {
		return "", fmt.Errorf("redisHost: %q is several servers, which is not supported", given)
	}
	if _, own, err := net.SplitHostPort(given); err == nil {
		if port != "" && port != own {
			return "", fmt.Errorf("redisHost: %q has a port, and redisPort is %s", given, port)
		}
		return given, nil
	}
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(strings.Trim(given, "[]"), port), nil
}

func transport(p *state.Properties, address string) (*tls.Config, error) {
	if !p.Bool("enableTLS") {
		return nil, nil //nolint:nilnil // none is an answer
	}
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: name,
		InsecureSkipVerify: p.Bool("insecureSkipTLSVerify"), //nolint:gosec // Dapr's metadata of that name asks for it
	}
	cert, key := p.String("", "clientCert"), p.String("", "clientKey")
	if cert == "" && key == "" {
		return cfg, nil
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return nil, fmt.Errorf("clientCert, clientKey: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// options are the client's. It never repeats by itself: only we know what may be
// done twice.
func (c Config) options() *client.Options {
	return &client.Options{
		Addr: c.Host, Username: c.Username, Password: c.Password, DB: c.DB, TLSConfig: c.TLS,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: c.Dial, ReadTimeout: c.Read, WriteTimeout: c.Write, PoolTimeout: c.Pool,
		PoolSize: c.Connections, MinIdleConns: c.MinIdle, ConnMaxIdleTime: c.Idle, ConnMaxLifetime: c.MaxAge,
		ReadBufferSize: buffer, WriteBufferSize: buffer, PipelineReadBufferSize: buffer, PipelineWriteBufferSize: buffer,
	}
}

// buffer is a connection's, each way.
const buffer = 16 << 10
