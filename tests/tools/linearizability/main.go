// Command linearizability checks recorded histories of items (https://en.wikipedia.org/wiki/Linearizability): whether each write and
// each read of an item can have happened at one moment between its beginning and its end, such that every read returns the newest
// write before it. A write without an answer may have happened at any later moment, or not at all.
//
//	linearizability HISTORY...
//
// A history has one operation a line, as JSON. Exit code 0: all items pass; 1: one does not; 2: a history can't be read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// timeout is how long the check of one item may take.
const timeout = 2 * time.Minute

// operation is a line of a history. Times are nanoseconds of one clock.
type operation struct {
	Client int    `json:"client"`
	Item   string `json:"item"`
	// Operation is "write" or "read".
	Operation string `json:"operation"`
	// Value is what was written or read.
	Value string `json:"value"`
	// Version of the item: the one that was read, or the one before a write.
	Version  int   `json:"version"`
	Invoked  int64 `json:"invoked"`
	Returned int64 `json:"returned"`
	// Outcome is "ok"; "failed" if the operation certainly did nothing; "unknown" if it may have happened.
	Outcome string `json:"outcome"`
}

// register is the state of an item.
type register struct {
	version int
	value   string
}

// step is an operation as the model takes it.
type step struct {
	operation
	// isUnseen is true for a write without an answer whose value nobody has read.
	isUnseen bool
	// gaps has the versions of the item that no other write has made; lastGap is the newest of them.
	gaps    map[int]bool
	lastGap int
}

// model is an item that each write gives a new value and the next version.
var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		now, op := state.(register), input.(step)
		next := register{now.version + 1, op.Value}
		switch {
		case op.Operation == "read":
			return now == register{op.Version, op.Value}, now
		case op.isUnseen && op.gaps[next.version]:
			return true, next
		case op.isUnseen:
			// It has made no version. That is decided last, so that all these writes are there to fill the gaps.
			return now.version >= op.lastGap, now
		default:
			return now.version == op.Version, next
		}
	},
}

// read returns the operations of a history, by item.
func read(history io.Reader) (map[string][]operation, error) {
	items := map[string][]operation{}
	lines := bufio.NewScanner(history)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var op operation
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		isWrite := op.Operation == "write"
		switch {
		case !isWrite && op.Operation != "read":
			return nil, fmt.Errorf("line %d: %q is no operation", n, op.Operation)
		case op.Outcome == "ok":
		case op.Outcome == "unknown" && isWrite:
			op.Returned = math.MaxInt64
		case op.Outcome == "failed" || op.Outcome == "unknown":
		default:
			return nil, fmt.Errorf("line %d: %q is no outcome", n, op.Outcome)
		}
		items[op.Item] = append(items[op.Item], op)
	}
	return items, lines.Err()
}

// steps prepares an item's operations for the model. Each write has a value of its own, so a read tells which version a write
// without an answer has made. Without that, the checker would try far too many orders.
func steps(history []operation) []porcupine.Operation {
	seen, made, newest := map[string]int{}, map[int]bool{}, 0
	for _, op := range history {
		if op.Operation == "read" {
			seen[op.Value] = op.Version
		}
	}
	for n, op := range history {
		if version, isSeen := seen[op.Value]; op.Outcome == "unknown" && isSeen {
			history[n].Version = version - 1
		}
		if _, isSeen := seen[op.Value]; op.Operation == "write" && (op.Outcome == "ok" || isSeen) {
			made[history[n].Version+1] = true
			newest = max(newest, history[n].Version+1)
		}
	}
	gaps, lastGap := map[int]bool{}, 0
	for version := 1; version < newest; version++ {
		if !made[version] {
			gaps[version] = true
			lastGap = version
		}
	}
	var prepared []porcupine.Operation
	for _, op := range history {
		_, isSeen := seen[op.Value]
		isUnseen := op.Outcome == "unknown" && !isSeen
		hasNoEffect := op.Outcome == "failed" || op.Outcome == "unknown" && op.Operation == "read"
		if hasNoEffect || isUnseen && len(gaps) == 0 {
			continue
		}
		prepared = append(prepared, porcupine.Operation{
			ClientId: op.Client, Input: step{op, isUnseen, gaps, lastGap}, Call: op.Invoked, Return: op.Returned,
		})
	}
	return prepared
}

// check returns the faults of a history, one for each item that has one.
func check(items map[string][]operation) []string {
	var faults []string
	for item, operations := range items {
		history := steps(operations)
		result, info := porcupine.CheckOperationsVerbose(model, history, timeout)
		switch result {
		case porcupine.Ok:
		case porcupine.Unknown:
			faults = append(faults, fmt.Sprintf("item %s: %d operations were not checked within %v", item, len(history), timeout))
		case porcupine.Illegal:
			faults = append(faults, fmt.Sprintf("item %s is not linearizable: %s", item, explain(operations, info)))
		}
	}
	sort.Strings(faults)
	return faults
}

// explain names an operation that does not fit behind the longest order that is right, and all operations with its value.
func explain(history []operation, info porcupine.LinearizationInfo) string {
	placed := map[operation]bool{}
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(placed) {
			placed = map[operation]bool{}
			for _, op := range order {
				placed[op.Input.(step).operation] = true
			}
		}
	}
	var first operation
	for _, op := range history {
		if !placed[op] && op.Outcome == "ok" && (first.Returned == 0 || op.Returned < first.Returned) {
			first = op
		}
	}
	var same []operation
	for _, op := range history {
		if op.Value == first.Value {
			same = append(same, op)
		}
	}
	text, _ := json.Marshal(same[:min(len(same), 5)])
	return fmt.Sprintf("%d of %d operations fit, and not those with the value %q: %s", len(placed), len(history), first.Value, text)
}

func main() {
	code := 0
	for _, path := range os.Args[1:] {
		items, err := readFile(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(2)
		}
		operations := 0
		for _, history := range items {
			operations += len(history)
		}
		faults := check(items)
		for _, fault := range faults {
			fmt.Println(fault)
			code = 1
		}
		fmt.Printf("%s: %d items, %d operations, %d faults\n", path, len(items), operations, len(faults))
	}
	os.Exit(code)
}

func readFile(path string) (map[string][]operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return read(file)
}
