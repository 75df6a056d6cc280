// kube-router's controller for NetworkPolicies alone, for the node of the tests. Its routing and its service proxy would bring BGP
// and the clients of clouds along, which take minutes to compile.
package main

import (
	"flag"
	"log"
	"sync"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	services := flag.String("service-cluster-ip-range", "", "the addresses of Services")
	flag.StringVar(&config.Kubeconfig, "kubeconfig", "", "the API server and its client's key")
	flag.StringVar(&config.HostnameOverride, "hostname-override", "", "the node's name in the API server")
	flag.Parse()
	config.ClusterIPCIDRs = []string{*services}

	connection, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	must(err)
	client, err := kubernetes.NewForConfig(connection)
	must(err)
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	stop := make(chan struct{})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	must(err)
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
	must(err)
	_, err = pods.AddEventHandler(controller.PodEventHandler)
	must(err)
	_, err = namespaces.AddEventHandler(controller.NamespaceEventHandler)
	must(err)
	_, err = policies.AddEventHandler(controller.NetworkPolicyEventHandler)
	must(err)

	// Nobody asks whether it is healthy, but the controller waits until each of its reports is taken.
	reports := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range reports {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	controller.Run(reports, stop, &running)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
