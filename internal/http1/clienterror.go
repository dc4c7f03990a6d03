package http1

import "fmt"

// ErrorKind is in which part of a request the client failed.
type ErrorKind uint8

// The kinds. The zero value is the caller's own mistake: nothing was sent.
const (
	ErrUsage    ErrorKind = iota // the Outgoing cannot be sent as it is
	ErrDial                      // no connection could be made, or the address is refused
	ErrTLS                       // the server's certificate or the handshake
	ErrTimeout                   // of dialling, sending or waiting
	ErrCanceled                  // the context ended
	ErrClosed                    // the connection ended or was reset
	ErrProtocol                  // the response is malformed or of a kind that is refused
	ErrTooLarge                  // the response is over a limit
	ErrSource                    // Outgoing.Stream failed
)

var errorKinds = [...]string{"cannot send", "cannot connect", "TLS failed", "timed out", "cancelled", "connection lost",
	"malformed response", "response too large", "request body failed"}

func (k ErrorKind) String() string {
	if int(k) < len(errorKinds) {
		return errorKinds[k]
	}
	return fmt.Sprintf("invalid(%d)", uint8(k))
}

// Error is why a request failed. It never quotes what the messages said.
type Error struct {
	Kind ErrorKind
	// Sent reports whether anything of the request may have reached the far side.
	Sent bool
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Status is the status code with which a gateway reports the failure: 504 after
// a timeout, 500 for mistakes of its own, otherwise 502.
func (e *Error) Status() int {
	switch e.Kind {
	case ErrTimeout:
		return 504
	case ErrUsage:
		return 500
	}
	return 502
}
