package config

import (
	"slices"
	"strings"
)

// daprTypes are the names of the component types that daprd 1.18 has, by the
// block they begin with. One that is not among them is nobody's.
var daprTypes = map[string]string{ //nolint:gosec // names of types, no secrets
	"state.": `aerospike alicloud.tablestore aws.dynamodb azure.blobstorage azure.cosmosdb azure.tablestorage cassandra
		cloudflare.workerskv cockroachdb coherence consul couchbase etcd gcp.firestore hashicorp.consul hazelcast in-memory
		jetstream memcached mongodb mysql oci.objectstorage oracledatabase postgres postgresql ravendb redis rethinkdb sqlite
		sqlite3 sqlserver yugabyte yugabytedb zookeeper`,
	"pubsub.": `aws.snssqs azure.eventhubs azure.servicebus azure.servicebus.queues azure.servicebus.topics
		azure.servicebusqueues gcp.pubsub in-memory jetstream kafka kubemq mqtt mqtt3 pulsar rabbitmq redis rocketmq snssqs
		solace.amqp`,
	"bindings.": `alicloud.dingtalk.webhook alicloud.dubbo alicloud.oss alicloud.sls alicloud.tablestore apns aws.dynamodb
		aws.kinesis aws.s3 aws.ses aws.sns aws.sqs azure.blobstorage azure.cosmosdb azure.cosmosdb.gremlinapi azure.eventgrid
		azure.eventhubs azure.openai azure.servicebus.queues azure.servicebusqueues azure.signalr azure.storagequeues
		cloudflare.queues commercetools cron dingtalk.webhook dubbo gcp.bucket gcp.pubsub graphql http huawei.obs influx kafka
		kubemq kubernetes localstorage mqtt mqtt3 mysql postgres postgresql postmark rabbitmq redis rethinkdb.statechange
		rocketmq sftp smtp twilio.sendgrid twilio.sms wasm zeebe.command zeebe.jobworker`,
	"secretstores.": `alicloud.parameterstore aws.parameterstore aws.secretmanager azure.keyvault gcp.secretmanager
		hashicorp.vault huaweicloud.csms kubernetes local.env local.file tencentcloud.ssm`,
	"configuration.": `azure.appconfig kubernetes postgres postgresql redis`,
	"lock.":          `redis`,
	"crypto.":        `azure.keyvault dapr.jwks dapr.kubernetes.secrets dapr.localstorage`,
	"conversation.":  `anthropic aws.bedrock deepseek echo googleai huggingface mistral ollama openai`,
	"middleware.http.": `bearer oauth2 oauth2clientcredentials opa ratelimit routeralias routerchecker sentinel uppercase
		wasm`,
	"nameresolution.": `aws.cloudmap consul hashicorp.consul kubernetes mdns nameformat sqlite`,
}

// typesOf are the component types of a block that daprd has.
func typesOf(prefix string) []string {
	names := strings.Fields(daprTypes[prefix])
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// isDaprs reports whether daprd has a component type, in lower case.
func isDaprs(prefix, kind string) bool {
	return slices.Contains(strings.Fields(daprTypes[prefix]), strings.TrimPrefix(kind, prefix))
}
