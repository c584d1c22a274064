// load writes remote clusters into an etcd, as kvstoremesh keeps them (Cilium pkg/clustermesh/kvstoremesh), and
// changes them at a given rate:
//
//	load [SIZES] fill
//	load [SIZES] -rate 5000 -seconds 20 change
//	load [SIZES] -rate 100 -seconds 20 -skip 100000 change
//
// The sizes are always the same, as nothing is read: what changes is the same each time, so that who goes on skips
// what was done. What change has written is told on the standard output, a line each: when its transaction was sent
// and when it was committed, in nanoseconds since 1970, the revision, and the key. What it cost is told on the
// standard error at the end, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/cilium/pkg/kvstore"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	keysOfLease   = 1000      // as Cilium has them (pkg/kvstore/lease.go)
	secondsToLive = 24 * 3600 // Cilium's leases are of 15 minutes, but renewed
	answerWithin  = 30 * time.Second
)

func main() {
	var sizes sizes
	endpoint := flag.String("endpoint", "http://127.0.0.1:2379", "URL of an etcd")
	flag.IntVar(&sizes.clusters, "clusters", 100, "remote clusters; their ids begin with 2")
	flag.IntVar(&sizes.ips, "ips", 5000, "addresses of pods, per cluster")
	flag.IntVar(&sizes.identities, "identities", 500, "per cluster")
	flag.IntVar(&sizes.nodes, "nodes", 50, "per cluster")
	flag.IntVar(&sizes.services, "services", 200, "per cluster, of the same names in each")
	flag.IntVar(&sizes.backends, "backends", 25, "of a service, per cluster")
	transaction := flag.Int("transaction", 100, "most keys of a transaction")
	rate := flag.Float64("rate", 5000, "change: keys per second")
	seconds := flag.Float64("seconds", 20, "change: for how long")
	skip := flag.Int("skip", 0, "change: how many changes were made before")
	flag.Parse()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{*endpoint}, DialTimeout: answerWithin})
	if err != nil {
		log.Fatal(err)
	}
	if err := sizes.check(); err != nil {
		log.Fatal(err)
	}
	began, out := time.Now(), &writer{client: client, most: *transaction}
	switch flag.Arg(0) {
	case "fill":
		fill(out, sizes)
	case "change":
		change(out, sizes, *skip, *rate, *seconds)
	default:
		log.Fatal("what to do: fill or change")
	}
	json.NewEncoder(os.Stderr).Encode(map[string]any{
		"keys": out.keys, "transactions": out.transactions, "bytes": out.bytes,
		"seconds": time.Since(began).Seconds(), "cpu_seconds": cpuSeconds(),
	})
}

// fill writes a cluster after the other, several at a time; each says last that it is complete.
func fill(out *writer, sizes sizes) {
	clusters := make(chan *cluster)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for cluster := range clusters {
				var batch []entry
				cluster.writeAll(func(next entry) {
					if batch = append(batch, next); len(batch) == out.most {
						out.commit(batch)
						batch = nil
					}
				})
				out.commit(batch)
			}
		})
	}
	out.commit([]entry{heartbeat()})
	for number := range sizes.clusters {
		clusters <- newCluster(number, sizes)
	}
	close(clusters)
	workers.Wait()
}

// change writes at a rate, of which it may fall short where the etcd is too slow.
func change(out *writer, sizes sizes, skip int, rate, seconds float64) {
	world := newWorld(sizes)
	for skip > 0 {
		skip -= len(world.next(min(out.most, skip)))
	}
	stdout := bufio.NewWriter(os.Stdout)
	defer stdout.Flush()
	out.commit([]entry{heartbeat()})
	began := time.Now()
	for written := 0; float64(written) < rate*seconds; {
		time.Sleep(time.Until(began.Add(time.Duration(float64(written) / rate * float64(time.Second)))))
		batch := world.next(min(out.most, int(rate*seconds)-written))
		sent := time.Now()
		revision := out.commit(batch)
		committed := time.Now()
		for _, entry := range batch {
			fmt.Fprintln(stdout, sent.UnixNano(), committed.UnixNano(), revision, entry.key)
		}
		written += len(batch)
	}
}

// entry is a key with its value, or one to be deleted.
type entry struct {
	key   string
	value []byte
}

func heartbeat() entry {
	return entry{kvstore.HeartbeatPath, []byte(time.Now().Format(time.RFC3339))}
}

// writer makes transactions, and counts what it has written.
type writer struct {
	client             *clientv3.Client
	most               int
	lock               sync.Mutex
	lease              clientv3.LeaseID
	leased             int
	keys, transactions int
	bytes              int
}

// operation writes a key, on a lease that has room for it, or deletes it.
func (w *writer) operation(entry entry) clientv3.Op {
	if entry.value == nil {
		return clientv3.OpDelete(entry.key)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.leased%keysOfLease == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		defer cancel()
		granted, err := w.client.Grant(ctx, secondsToLive)
		if err != nil {
			log.Fatal(err)
		}
		w.lease = granted.ID
	}
	w.leased++
	return clientv3.OpPut(entry.key, string(entry.value), clientv3.WithLease(w.lease))
}

func (w *writer) commit(batch []entry) int64 {
	if len(batch) == 0 {
		return 0
	}
	var operations []clientv3.Op
	for _, entry := range batch {
		operations = append(operations, w.operation(entry))
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	done, err := w.client.Txn(ctx).Then(operations...).Commit()
	if err != nil {
		log.Fatal(err)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.keys += len(batch)
	w.transactions++
	for _, entry := range batch {
		w.bytes += len(entry.key) + len(entry.value)
	}
	return done.Header.Revision
}

func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		log.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}
