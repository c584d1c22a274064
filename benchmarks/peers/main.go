// Maglev tables by others, timed as CPU time of this process.
//
//	peers FILL SIZE COUNT SETS
//
// FILL: cilium, kkdai or dgryski. Prints nanoseconds of CPU time an entry, after a first table (which allocates), and
// the FNV-1a of that table where it has ids, so that whoever asks can compare it with its own.
package main

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/cilium/hive/cell"
	"github.com/kkdai/maglev"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/loadbalancer"
	cilium "github.com/cilium/cilium/pkg/maglev"
	"github.com/cilium/cilium/pkg/murmur3"
)

// Backend b of set s: what fleetmesh's side of the comparison has as well.
func address(s, b int) netip.Addr {
	n := uint32(0x0a000000 + s*4096 + b)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

type lifecycle struct {
	cell.Lifecycle
	hooks []cell.HookInterface
}

func (l *lifecycle) Append(h cell.HookInterface) { l.hooks = append(l.hooks, h) }

func ciliumTables(size, count int) func(int) []uint32 {
	config, err := cilium.UserConfig{TableSize: uint(size), HashSeed: cilium.DefaultHashSeed}.ToConfig()
	if err != nil {
		panic(err)
	}
	l := &lifecycle{}
	tables := cilium.New(config, l)
	for _, h := range l.hooks {
		if err := h.Start(nil); err != nil {
			panic(err)
		}
	}
	return func(s int) []uint32 {
		ids := tables.GetLookupTable(func(yield func(cilium.BackendInfo) bool) {
			for b := range count {
				a := loadbalancer.NewL3n4Addr(loadbalancer.TCP, cmtypes.AddrClusterFrom(address(s, b), 0), 80, loadbalancer.ScopeExternal)
				if !yield(cilium.BackendInfo{ID: loadbalancer.BackendID(b + 1), Addr: a, Weight: 1}) {
					return
				}
			}
		})
		result := make([]uint32, len(ids))
		for i, id := range ids {
			result[i] = uint32(id)
		}
		return result
	}
}

func kkdaiTables(size, count int) func(int) []uint32 {
	return func(s int) []uint32 {
		names := make([]string, count)
		for b := range names {
			names[b] = address(s, b).String()
		}
		if _, err := maglev.NewMaglev(names, uint64(size)); err != nil {
			panic(err)
		}
		return nil
	}
}

// The loop of the paper with an add and a conditional subtraction, as github.com/dgryski/go-maglev has it: a table
// of int, no permutation array, no weights.
func dgryskiTables(size, count int) func(int) []uint32 {
	m := uint64(size)
	return func(s int) []uint32 {
		offsets, skips := make([]uint64, count), make([]uint64, count)
		for b := range count {
			h1, h2 := murmur3.Hash128([]byte(address(s, b).String()), 1)
			offsets[b], skips[b] = h1%m, h2%(m-1)+1
		}
		entry := make([]int, m)
		for i := range entry {
			entry[i] = -1
		}
		for n := uint64(0); ; {
			for i := range offsets {
				c := offsets[i]
				for entry[c] >= 0 {
					c += skips[i]
					if c >= m {
						c -= m
					}
				}
				entry[c] = i
				c += skips[i]
				if c >= m {
					c -= m
				}
				offsets[i] = c
				if n++; n == m {
					return nil
				}
			}
		}
	}
}

func main() {
	numbers := make([]int, 3)
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: peers cilium|kkdai|dgryski SIZE COUNT SETS")
		os.Exit(2)
	}
	for i, text := range os.Args[2:] {
		var err error
		if numbers[i], err = strconv.Atoi(text); err != nil {
			panic(err)
		}
	}
	size, count, sets := numbers[0], numbers[1], numbers[2]
	builders := map[string]func(int, int) func(int) []uint32{
		"cilium": ciliumTables, "kkdai": kkdaiTables, "dgryski": dgryskiTables,
	}
	build := builders[os.Args[1]](size, count)
	digest := fnv.New64a()
	for _, id := range build(0) {
		digest.Write([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
	}
	start := cpuSeconds()
	for s := range sets {
		build(s)
	}
	spent := cpuSeconds() - start
	fmt.Printf("%.3f %016x\n", spent*1e9/float64(sets)/float64(size), digest.Sum64())
}
