// Command with_kafka_go checks a broker with segmentio/kafka-go.
//
//	with_kafka_go HOST:PORT [CHECK...]
//
// Its last line is `RAN kafka-go VERSION: N passed[, M failed]`.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"time"
)

const checkTimeout = 90 * time.Second

type check struct {
	name string
	run  func(context.Context, string) error
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: with_kafka_go HOST:PORT [CHECK...]")
		os.Exit(64)
	}
	broker, only := os.Args[1], os.Args[2:]
	passed, failed := 0, 0
	for _, c := range checks {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		started := time.Now()
		if err := limited(c, broker); err != nil {
			failed++
			fmt.Printf("FAILED %s (%.1f s)\n", c.name, time.Since(started).Seconds())
			fmt.Fprintln(os.Stderr, err)
		} else {
			passed++
			fmt.Printf("ok %s (%.1f s)\n", c.name, time.Since(started).Seconds())
		}
	}
	fmt.Printf("RAN kafka-go %s: %d passed", clientVersion(), passed)
	if failed > 0 {
		fmt.Printf(", %d failed", failed)
	}
	fmt.Println()
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

// limited runs a check; one that ignores its context is abandoned, not waited for.
func limited(c check, broker string) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- c.run(ctx, broker) }()
	select {
	case err := <-result:
		return err
	case <-time.After(checkTimeout + 5*time.Second):
		return fmt.Errorf("no result after %v", checkTimeout)
	}
}

func clientVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/segmentio/kafka-go" {
			return module.Version
		}
	}
	return "of unknown version"
}

func fresh(stem string) string {
	var random [6]byte
	rand.Read(random[:])
	return "kafka-go-" + stem + "-" + hex.EncodeToString(random[:])
}

func equal[T any](what string, got, want T) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func eventually(ctx context.Context, what string, condition func() bool) error {
	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}
