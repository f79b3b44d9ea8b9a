// Package main runs the scenarios of Go's clients. This file has what all of them use: connections, the stage, checks,
// and the run with one line for each scenario.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// No scenario may take longer.
const scenarioTime = 60 * time.Second

type scenario struct {
	name string
	run  func(ctx context.Context)
}

func address() string { return "127.0.0.1:" + os.Getenv("LARDER_PORT") }

// Options as the back ends set them; a scenario changes what it needs otherwise.
func options() *redis.Options {
	return &redis.Options{
		Addr: address(), Password: os.Getenv("LARDER_PASSWORD"),
		DialTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 3 * time.Second,
	}
}

func connect() *redis.Client { return redis.NewClient(options()) }

// Tells the stage to "chill" the keys, "clean" up or "restart" the server.
func direct(order string) {
	connection, err := net.DialTimeout("tcp", "127.0.0.1:"+os.Getenv("LARDER_CONTROL_PORT"), 5*time.Second)
	must(err)
	defer connection.Close()
	must(connection.SetDeadline(time.Now().Add(scenarioTime)))
	_, err = fmt.Fprintln(connection, order)
	must(err)
	answer, err := bufio.NewReader(connection).ReadString('\n')
	must(err)
	if strings.TrimSpace(answer) != "ok" {
		panic(answer)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// The result of a call that must not fail.
func get[T any](value T, err error) T {
	must(err)
	return value
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("expected %#v, found %#v", expected, found))
	}
}

func check(condition bool, format string, values ...any) {
	if !condition {
		panic(fmt.Sprintf(format, values...))
	}
}

func waitUntil(what string, condition func() bool) {
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		check(time.Now().Before(end), "waited in vain: %s", what)
	}
}

func runOne(one scenario) (failed bool) {
	fmt.Println("RUN", one.name)
	ctx, cancel := context.WithTimeout(context.Background(), scenarioTime)
	defer cancel()
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s\n", one.name, problem, debug.Stack())
			fmt.Println("FAILED", strings.ReplaceAll(fmt.Sprintf("%s: %s: %v", one.name, place(), problem), "\n", " "))
			failed = true
		}
	}()
	direct("clean")
	one.run(ctx)
	fmt.Println("OK", one.name)
	return false
}

// The line of a scenario that panicked.
func place() string {
	for _, line := range strings.Split(string(debug.Stack()), "\n") {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "/clients/go/") && !strings.Contains(line, "scenario.go") {
			return line[strings.LastIndex(line, "/")+1:]
		}
	}
	return "?"
}

func main() {
	all := [][]scenario{mediaScenarios, productivityScenarios, streamingScenarios, jobScenarios}
	failed := 0
	for _, some := range all {
		for _, one := range some {
			if strings.Contains(one.name, os.Getenv("LARDER_ONLY")) && runOne(one) {
				failed++
			}
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}
