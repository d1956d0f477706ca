package hub

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeep has a part panic some times before it does its work, and one that
// does nothing else end with the hub.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		h := &Hub{log: slog.New(slog.NewTextHandler(log, nil))}
		runs := 0
		begun := time.Now()
		h.keep(t.Context(), "test", func(context.Context) {
			if runs++; runs < 4 {
				panic("again")
			}
		})
		if runs != 4 || time.Since(begun) != 3*keepAgain {
			t.Errorf("%d runs in %v, want 4 in %v", runs, time.Since(begun), 3*keepAgain)
		}
		if n := strings.Count(log.String(), "part=test err=again"); n != 3 || !strings.Contains(log.String(), "keep_test.go") {
			t.Errorf("log:\n%s", log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		h.keep(ctx, "test", func(context.Context) { panic("always") })
		if ctx.Err() == nil {
			t.Error("ended before the hub")
		}
	})
}
