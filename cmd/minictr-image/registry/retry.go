package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// retries is all that is tried again, and how often it is tried in all. What is
// not here is final: a host that is not there or not trusted, and every answer
// that would be the same.
//
// It is the only round but three small ones. Below, net/http sends a GET once
// more when a connection that it had kept turns out to be dead. Beside, a 401 is
// answered once, with a new token. Above, whoever reads a blob may ask for the
// rest of it when it breaks in the middle (MayRetry).
var retries = []struct {
	when     func(error) bool
	attempts int
}{
	{status(http.StatusTooManyRequests), 4},
	{status(http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout), 4},
	{isBroken, 4},
	{isLost, 4},
	{isSilence, 2}, // each costs the whole patience
}

func status(codes ...int) func(error) bool {
	return func(err error) bool {
		var e *Error
		return errors.As(err, &e) && slices.Contains(codes, e.Status)
	}
}

// isBroken reports whether a connection ended in the middle of an exchange.
func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// isLost reports whether a host is not there any more: it may be starting again.
func isLost(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.lost
}

// MayRetry reports whether the same request may end better another time.
func MayRetry(err error) bool {
	return attemptsFor(err) > 1
}

func attemptsFor(err error) int {
	for _, row := range retries {
		if row.when(err) && !errors.Is(err, context.Canceled) {
			return row.attempts
		}
	}
	return 1
}

// The pauses between attempts: they grow, and are not the same on all machines
// that a registry has just thrown off. A registry that asks for more than
// longestPause is taken at its word another day.
const (
	firstPause   = 400 * time.Millisecond
	pauseFactor  = 3
	longestPause = 60 * time.Second
)

// again calls do until it succeeds or its error is final.
func (c *Client) again(ctx context.Context, do func() error) error {
	pause := c.pause
	if pause == 0 {
		pause = firstPause
	}
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt >= attemptsFor(err) || ctx.Err() != nil {
			return err
		}
		wait := time.Duration(float64(pause) * (0.9 + 0.2*rand.Float64()))
		pause *= pauseFactor
		var answer *Error
		if errors.As(err, &answer) && answer.retryAfter > 0 {
			if wait = answer.retryAfter; wait > longestPause {
				return &Error{
					Text: fmt.Sprintf("%s, and wants to be left alone for %v", answer.Text, roughly(wait)),
					Help: answer.Help, Status: answer.Status, Err: answer.Err,
				}
			}
		}
		c.notify(fmt.Sprintf("%v; trying again in %v", err, wait.Round(100*time.Millisecond)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// roughly spares people the seconds of hours.
func roughly(d time.Duration) time.Duration {
	if d > 10*time.Minute {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}

func (c *Client) notify(text string) {
	if c.Notify != nil {
		c.Notify(text)
	}
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110,
// 10.2.3). What cannot be read is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
