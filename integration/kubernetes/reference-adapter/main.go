// Command reference-adapter serves the metrics APIs with the library that most adapters are made with, for tests that
// compare our answers with its own. All metrics are of one pool.
package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	sample "sigs.k8s.io/custom-metrics-apiserver/test-adapter/provider"
)

const (
	namespace    = "default"
	pool         = "llama3"
	resourceType = "inferencepools.inference.networking.k8s.io"
)

// value is that of all metrics.
var value = resource.MustParse("1")

// metrics are those of the library's sample adapter, and the same as external metrics.
type metrics struct {
	provider.MetricsProvider
	names []string
}

func (m metrics) ListAllMetrics() []provider.CustomMetricInfo {
	var all []provider.CustomMetricInfo
	for _, name := range m.names {
		group := provider.CustomMetricInfo{Metric: name, Namespaced: true}
		group.GroupResource.Resource, group.GroupResource.Group, _ = strings.Cut(resourceType, ".")
		all = append(all, group)
	}
	return all
}

func (m metrics) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	var all []provider.ExternalMetricInfo
	for _, name := range m.names {
		all = append(all, provider.ExternalMetricInfo{Metric: name})
	}
	return all
}

// GetExternalMetric returns nothing for an unknown metric, like the sample.
func (m metrics) GetExternalMetric(
	_ context.Context, of string, selector labels.Selector, info provider.ExternalMetricInfo,
) (*external_metrics.ExternalMetricValueList, error) {
	found := &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{}}
	own := labels.Set{"inference_pool": pool}
	selected := labels.Set{"inference_pool": pool, "role": "both"}
	for _, name := range m.names {
		if name == info.Metric && of == namespace && selector.Matches(selected) {
			found.Items = append(found.Items, external_metrics.ExternalMetricValue{
				MetricName: name, MetricLabels: own, Timestamp: metav1.Now(), Value: value,
			})
		}
	}
	return found, nil
}

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	adapter := &cmd.AdapterBase{Name: "reference-adapter"}
	names := adapter.Flags().StringSlice("metrics", nil, "names of the metrics")
	if err := adapter.Flags().Parse(os.Args); err != nil {
		klog.Fatalf("unable to parse flags: %v", err)
	}
	client, err := adapter.DynamicClient()
	if err != nil {
		klog.Fatalf("unable to make a client: %v", err)
	}
	mapper, err := adapter.RESTMapper()
	if err != nil {
		klog.Fatalf("unable to discover the resources of the cluster: %v", err)
	}
	values, writer := sample.NewFakeProvider(client, mapper)
	write(writer, *names)
	all := metrics{values, *names}
	adapter.WithCustomMetrics(all)
	adapter.WithExternalMetrics(all)
	if err := adapter.Run(context.Background()); err != nil {
		klog.Fatalf("unable to serve: %v", err)
	}
}

// write sets the metrics as clients of the sample adapter do.
func write(writer *restful.WebService, names []string) {
	container := restful.NewContainer()
	container.Add(writer)
	for _, name := range names {
		path := "/write-metrics/namespaces/" + namespace + "/" + resourceType + "/" + pool + "/" + name
		request := httptest.NewRequest(http.MethodPost, path+"?labels=role%3Dboth", strings.NewReader(`"`+value.String()+`"`))
		request.Header.Set("Content-Type", restful.MIME_JSON)
		response := httptest.NewRecorder()
		container.ServeHTTP(response, request)
		if response.Code != http.StatusOK {
			klog.Fatalf("unable to set %s: %s", name, response.Body)
		}
	}
}
