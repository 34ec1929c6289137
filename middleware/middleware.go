// Package middleware holds ready-made middleware for fanfare's dispatchers.
package middleware

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/fanfare-go/fanfare"
)

// Recover turns a panic of the handler, or of middleware inside, into a
// *[fanfare.PanicError] that the middleware outside sees. Without it a panic is
// an error for the dispatcher all the same.
func Recover() fanfare.Middleware {
	return func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = &fanfare.PanicError{Value: v, Stack: debug.Stack()}
				}
			}()
			return next(ctx, event)
		}
	}
}

// Timeout ends the context of every handler after d, with the cause
// [fanfare.ErrTimeout]. A shorter timeout of the handler's own stays.
func Timeout(d time.Duration) fanfare.Middleware {
	return func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, fanfare.ErrTimeout)
			defer cancel()
			return next(ctx, event)
		}
	}
}

// Log logs the end of every handler: at debug level if it returned nil, else as
// a warning with its error. It logs no payload and no header.
func Log(l *slog.Logger) fanfare.Middleware {
	return func(next fanfare.HandleFunc) fanfare.HandleFunc {
		return func(ctx context.Context, event any) error {
			begin := time.Now()
			err := next(ctx, event)
			d, _ := fanfare.DeliveryFrom(ctx)
			attrs := []slog.Attr{
				slog.String("topic", d.Topic), slog.String("group", d.Group),
				slog.String("event_id", d.ID), slog.Int("attempt", d.Attempt),
				slog.Duration("duration", time.Since(begin)),
			}
			if err == nil {
				l.LogAttrs(ctx, slog.LevelDebug, "event handled", attrs...)
				return nil
			}
			l.LogAttrs(ctx, slog.LevelWarn, "event failed", append(attrs, slog.Any("error", err))...)
			return err
		}
	}
}

// LogDispatch logs the end of every dispatch, in the same way.
func LogDispatch(l *slog.Logger) fanfare.DispatchMiddleware {
	return func(next fanfare.DispatchFunc) fanfare.DispatchFunc {
		return func(ctx context.Context, topic string, event any) error {
			begin := time.Now()
			err := next(ctx, topic, event)
			attrs := []slog.Attr{slog.String("topic", topic), slog.Duration("duration", time.Since(begin))}
			if err == nil {
				l.LogAttrs(ctx, slog.LevelDebug, "event dispatched", attrs...)
				return nil
			}
			l.LogAttrs(ctx, slog.LevelWarn, "event not dispatched", append(attrs, slog.Any("error", err))...)
			return err
		}
	}
}
