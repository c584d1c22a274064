package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"time"

	"github.com/cilium/cilium/pkg/cidr"
	mcsapitypes "github.com/cilium/cilium/pkg/clustermesh/mcsapi/types"
	cmstore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/node/addressing"
	nodestore "github.com/cilium/cilium/pkg/node/store"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/source"
)

const (
	firstID     = 2   // 1 is whoever listens
	podsOfNode  = 250 // addresses that its range has for pods
	namespaces  = 20
	maxClusters = 255
)

// sizes are of each cluster, all but the number of clusters.
type sizes struct{ clusters, ips, identities, nodes, services, backends int }

func (s sizes) check() error {
	switch {
	case s.clusters < 1 || s.clusters > maxClusters-firstID+1:
		return fmt.Errorf("clusters: 1 to %d", maxClusters-firstID+1)
	case s.nodes < 1 || s.nodes > 254:
		return errors.New("nodes: 1 to 254")
	case s.identities < 1 || s.identities > 60000:
		return errors.New("identities: 1 to 60000")
	case s.ips < s.identities || s.ips+s.ips/10 > s.nodes*podsOfNode:
		return fmt.Errorf("ips: at least one of each identity, and a tenth less than %d a node at most", podsOfNode)
	case s.backends > s.ips:
		return errors.New("backends: at most one a pod")
	}
	return nil
}

// cluster is one in its first state: its pods are spread over its nodes, and those of an identity are neighbours.
type cluster struct {
	sizes
	id   uint32
	name string
}

func newCluster(number int, sizes sizes) *cluster {
	return &cluster{sizes, uint32(firstID + number), fmt.Sprintf("cluster-%d", firstID+number)}
}

func (c *cluster) writeAll(put func(entry)) {
	config, err := json.Marshal(cmtypes.CiliumClusterConfig{ID: c.id, Capabilities: cmtypes.CiliumClusterConfigCapabilities{
		SyncedCanaries: true, Cached: true, MaxConnectedClusters: maxClusters, ServiceExportsEnabled: new(bool)}})
	must(err)
	put(entry{kvstore.JoinKey(kvstore.ClusterConfigPrefix, c.name), config})
	for node := range c.nodes {
		put(c.node(node))
	}
	for number := range c.identities {
		put(c.identity(number))
	}
	for pod := range c.ips {
		put(c.ip(pod, c.identityOf(pod), 0))
	}
	for number := range c.services {
		put(c.service(number, -1))
	}
	for _, prefix := range []string{nodestore.NodeStorePrefix, cache.IdentitiesPath, ipcache.IPIdentitiesPath,
		cmstore.ServiceStorePrefix, mcsapitypes.ServiceExportStorePrefix} {
		now := time.Now().Format(time.RFC3339)
		put(entry{kvstore.JoinKey(kvstore.SyncedPrefix, c.name, kvstore.StateToCachePrefix(prefix)), []byte(now)})
	}
}

func (c *cluster) nodeName(node int) string { return fmt.Sprintf("%s-node-%d", c.name, node) }

func (c *cluster) zone(node int) string { return fmt.Sprintf("zone-%d", node%3+1) }

func (c *cluster) host(node int) net.IP { return net.IPv4(172, 16, byte(c.id), byte(node+1)) }

func (c *cluster) address(pod int) net.IP {
	return net.IPv4(10, byte(c.id), byte(pod%c.nodes), byte(pod/c.nodes+2))
}

func (c *cluster) identityOf(pod int) int { return pod * c.identities / c.ips }

func namespace(number int) string { return fmt.Sprintf("team-%d", number%namespaces) }

func (c *cluster) node(number int) entry {
	node := nodetypes.Node{
		Name: c.nodeName(number), Cluster: c.name, ClusterID: c.id, Source: source.CustomResource,
		IPAddresses: []nodetypes.Address{
			{Type: addressing.NodeInternalIP, IP: c.host(number)},
			{Type: addressing.NodeCiliumInternalIP, IP: net.IPv4(10, byte(c.id), byte(number), 1)},
		},
		IPv4AllocCIDR: cidr.MustParseCIDR(fmt.Sprintf("10.%d.%d.0/24", c.id, number)),
		IPv4HealthIP:  net.IPv4(10, byte(c.id), byte(number), 254),
		Labels: map[string]string{
			"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": c.nodeName(number), "kubernetes.io/os": "linux",
			"topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": c.zone(number),
		},
	}
	value, err := node.Marshal()
	must(err)
	return entry{kvstore.JoinKey(kvstore.StateToCachePrefix(nodestore.NodeStorePrefix), node.GetKeyName()), value}
}

func (c *cluster) identity(number int) entry {
	app, space := fmt.Sprintf("app-%d", number), namespace(number)
	pairs := map[string]string{
		"app.kubernetes.io/name":                                     app,
		"app.kubernetes.io/part-of":                                  fmt.Sprintf("product-%d", number%7),
		"io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": space,
		"io.cilium.k8s.policy.cluster":                               c.name,
		"io.cilium.k8s.policy.serviceaccount":                        app,
		"io.kubernetes.pod.namespace":                                space,
	}
	if number%2 == 0 {
		pairs["app.kubernetes.io/version"] = fmt.Sprintf("1.%d", number%30)
	}
	if number%3 == 0 {
		pairs["tier"] = []string{"front", "back", "data"}[number%9/3]
	}
	key := kvstore.JoinKey(kvstore.StateToCachePrefix(cache.IdentitiesPath), c.name, "id", c.numeric(number).String())
	return entry{key, labels.Map2Labels(pairs, labels.LabelSourceK8s).SortedList()}
}

func (c *cluster) numeric(number int) identity.NumericIdentity {
	return identity.NumericIdentity(c.id<<16 | uint32(256+number))
}

func (c *cluster) ipKey(pod int) string {
	return kvstore.JoinKey(kvstore.StateToCachePrefix(ipcache.IPIdentitiesPath), c.name, c.address(pod).String())
}

// ip is what stands at a pod's address; turn tells pods apart that have it one after the other.
func (c *cluster) ip(pod, number, turn int) entry {
	pair := identity.IPIdentityPair{
		IP: c.address(pod), HostIP: c.host(pod % c.nodes), ID: c.numeric(number), K8sNamespace: namespace(number),
		K8sPodName:        fmt.Sprintf("app-%d-%08x-%d-%d", number, uint32(number)*2654435761, pod, turn),
		K8sServiceAccount: fmt.Sprintf("app-%d", number),
		NamedPorts:        []identity.NamedPort{{Name: "http", Port: 8080, Protocol: "TCP"}},
	}
	value, err := pair.Marshal()
	must(err)
	return entry{c.ipKey(pod), value}
}

// service has backends that are neighbours; one of them may be missing.
func (c *cluster) service(number, missing int) entry {
	name := fmt.Sprintf("service-%d", number)
	service := cmstore.NewClusterService(name, namespace(number))
	service.Cluster, service.ClusterID, service.Shared, service.IncludeExternal = c.name, c.id, true, true
	service.Labels = map[string]string{"app.kubernetes.io/name": name}
	service.Selector = map[string]string{"app.kubernetes.io/name": name}
	port := func(number uint16) cmstore.PortConfiguration {
		return cmstore.PortConfiguration{"http": &loadbalancer.L4Addr{Protocol: loadbalancer.TCP, Port: number}}
	}
	service.Frontends[net.IPv4(172, 20, byte(number>>8), byte(number)).String()] = port(80)
	for backend := range c.backends {
		if pod := (number*c.backends + backend) % c.ips; backend != missing {
			address := c.address(pod).String()
			service.Backends[address] = port(8080)
			service.Zones[address] = cmstore.BackendZone{Zone: c.zone(pod % c.nodes)}
		}
	}
	value, err := service.Marshal()
	must(err)
	return entry{kvstore.JoinKey(kvstore.StateToCachePrefix(cmstore.ServiceStorePrefix), service.GetKeyName()), value}
}

// world is what all clusters have now.
type world struct {
	random   *rand.Rand
	clusters []*changing
	turn     int
	held     *entry // for the next transaction, as this one has its key
}

type changing struct {
	*cluster
	taken, free []int       // pods, by address
	missing     map[int]int // service -> the backend that it lacks
}

func newWorld(sizes sizes) *world {
	w := &world{random: rand.New(rand.NewPCG(7, 7))}
	for number := range sizes.clusters {
		c := &changing{cluster: newCluster(number, sizes), missing: map[int]int{}}
		for pod := range sizes.ips + sizes.ips/10 {
			if pod < sizes.ips {
				c.taken = append(c.taken, pod)
			} else {
				c.free = append(c.free, pod)
			}
		}
		w.clusters = append(w.clusters, c)
	}
	return w
}

// next are changes of so many different keys, or fewer: a quarter each of addresses that come, go, or pass to another
// pod, and of services that lose or regain a backend.
func (w *world) next(most int) (batch []entry) {
	seen := map[string]bool{}
	for len(batch) < most {
		next := w.held
		if w.held = nil; next == nil {
			made := w.clusters[w.random.IntN(len(w.clusters))].change(w)
			next = &made
		}
		if seen[next.key] {
			w.held = next
			break
		}
		seen[next.key] = true
		batch = append(batch, *next)
	}
	return batch
}

func (c *changing) change(w *world) entry {
	w.turn++
	kind, number := w.random.IntN(4), w.random.IntN(c.identities)
	switch {
	case kind == 0 && c.services > 0 && c.backends > 0:
		service := w.random.IntN(c.services)
		missing, lacks := c.missing[service]
		if lacks {
			delete(c.missing, service)
			missing = -1
		} else {
			missing = w.random.IntN(c.backends)
			c.missing[service] = missing
		}
		return c.service(service, missing)
	case kind == 1 && len(c.taken) > 1:
		pod := take(&c.taken, w.random)
		c.free = append(c.free, pod)
		return entry{c.ipKey(pod), nil}
	case kind == 2 && len(c.free) > 0:
		pod := take(&c.free, w.random)
		c.taken = append(c.taken, pod)
		return c.ip(pod, number, w.turn)
	}
	return c.ip(c.taken[w.random.IntN(len(c.taken))], number, w.turn)
}

func take(from *[]int, random *rand.Rand) int {
	at, last := random.IntN(len(*from)), len(*from)-1
	taken := (*from)[at]
	(*from)[at] = (*from)[last]
	*from = (*from)[:last]
	return taken
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
