package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

var checks = []check{
	{"topicWriterAndGroupReader", topicWriterAndGroupReader},
	{"recordsComeBackWhole", recordsComeBackWhole},
	{"everyCodec", everyCodec},
	{"keysGoToJavasPartition", keysGoToJavasPartition},
	{"largeAndTooLarge", largeAndTooLarge},
	{"replayByTimestamp", replayByTimestamp},
	{"acksOfEveryKind", acksOfEveryKind},
	{"groupOfOneToThree", groupOfOneToThree},
	{"groupResumes", groupResumes},
	{"administration", administration},
}

// createTopic asks any broker for the controller and creates the topic there, as a first program does.
func createTopic(broker, topic string, partitions int, configs ...kafka.ConfigEntry) error {
	first, err := kafka.Dial("tcp", broker)
	if err != nil {
		return err
	}
	defer first.Close()
	controller, err := first.Controller()
	if err != nil {
		return fmt.Errorf("asking for the controller: %w", err)
	}
	conn, err := kafka.Dial("tcp", net.JoinHostPort(controller.Host, strconv.Itoa(controller.Port)))
	if err != nil {
		return fmt.Errorf("dialling the controller: %w", err)
	}
	defer conn.Close()
	return conn.CreateTopics(kafka.TopicConfig{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs,
	})
}

// newTopic returns once the topic shows in metadata: this client does not retry an unknown topic.
func newTopic(broker, stem string, partitions int, configs ...kafka.ConfigEntry) (string, error) {
	topic := fresh(stem)
	if err := createTopic(broker, topic, partitions, configs...); err != nil {
		return topic, err
	}
	conn, err := kafka.Dial("tcp", broker)
	if err != nil {
		return topic, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return topic, eventually(ctx, topic+" shows in metadata", func() bool {
		found, err := conn.ReadPartitions(topic)
		return err == nil && len(found) == partitions
	})
}

// write gives each writer its own pool: a shared one answers for seconds from metadata older than the topic.
// A writer that does not say how it wants to be acknowledged is not acknowledged at all: here it is.
func write(ctx context.Context, broker, topic string, w *kafka.Writer, messages ...kafka.Message) error {
	if w.RequiredAcks == kafka.RequireNone {
		w.RequiredAcks = kafka.RequireAll
	}
	return writeAs(ctx, broker, topic, w, messages...)
}

func writeAs(ctx context.Context, broker, topic string, w *kafka.Writer, messages ...kafka.Message) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w.Addr, w.Topic, w.Transport = kafka.TCP(broker), topic, transport
	if w.BatchTimeout == 0 {
		w.BatchTimeout = 10 * time.Millisecond
	}
	return errors.Join(w.WriteMessages(ctx, messages...), w.Close())
}

func read(ctx context.Context, broker, topic string, partition, count int) ([]kafka.Message, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, Partition: partition, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	var messages []kafka.Message
	for len(messages) < count {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d messages: %w", len(messages), count, err)
		}
		messages = append(messages, message)
	}
	return messages, nil
}

// topicWriterAndGroupReader is the introduction that texts on Kafka give in Go: three partitions made
// through the controller, a LeastBytes writer of ten keyed messages, one at a time and unacknowledged
// as that writer's zero value has it, and a reader in a group that asks for at least 10 kB and so
// depends on the broker's waiting.
func topicWriterAndGroupReader(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "introduction", 3)
	if err != nil {
		return err
	}
	// This call takes "already exists" for success.
	if err := createTopic(broker, topic, 3); err != nil {
		return fmt.Errorf("creating it again: %w", err)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, GroupID: fresh("introduction"),
		MinBytes: 10e3, MaxBytes: 10e6, StartOffset: kafka.FirstOffset, MaxWait: time.Second,
	})
	defer reader.Close()
	wrote := make(chan error, 1)
	go func() {
		writer := &kafka.Writer{
			Addr: kafka.TCP(broker), Topic: topic, Balancer: &kafka.LeastBytes{},
			BatchTimeout: 20 * time.Millisecond,
		}
		for i := range 10 {
			key, value := fmt.Sprintf("entity-%d", i%3), fmt.Sprintf("event %d", i)
			err := writer.WriteMessages(ctx, kafka.Message{Key: []byte(key), Value: []byte(value)})
			if err != nil {
				wrote <- err
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		wrote <- writer.Close()
	}()
	seen, partitions := map[string]string{}, map[int]bool{}
	for range 10 {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return fmt.Errorf("after %d messages: %w", len(seen), err)
		}
		seen[string(message.Value)] = string(message.Key)
		partitions[message.Partition] = true
	}
	if err := <-wrote; err != nil {
		return err
	}
	for i := range 10 {
		value := fmt.Sprintf("event %d", i)
		if err := equal("key of "+value, seen[value], fmt.Sprintf("entity-%d", i%3)); err != nil {
			return err
		}
	}
	return equal("partitions that LeastBytes used", len(partitions), 3)
}

func recordsComeBackWhole(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "order", 1)
	if err != nil {
		return err
	}
	base := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	headers := []kafka.Header{{Key: "n", Value: []byte("1")}, {Key: "n", Value: []byte{0, 255}}}
	sent := []kafka.Message{
		{Key: []byte("k"), Value: nil, Time: base},
		{Key: nil, Value: []byte("v"), Time: base.Add(time.Second)},
		{Key: []byte{}, Value: []byte{}, Time: base.Add(2 * time.Second)},
	}
	for i := range 500 {
		at := base.Add(3*time.Second + time.Duration(i)*time.Millisecond)
		sent = append(sent, kafka.Message{Key: []byte("k"), Value: fmt.Append(nil, i), Headers: headers, Time: at})
	}
	if err := write(ctx, broker, topic, &kafka.Writer{}, slices.Clone(sent)...); err != nil {
		return err
	}
	got, err := read(ctx, broker, topic, 0, len(sent))
	if err != nil {
		return err
	}
	for i, m := range got {
		what, want := fmt.Sprintf("message %d", i), sent[i]
		// This client reads a null value as an empty one, so null is compared by length.
		err := errors.Join(
			equal(what+": offset", m.Offset, int64(i)),
			equal(what+": key", string(m.Key), string(want.Key)),
			equal(what+": value", string(m.Value), string(want.Value)),
			equal(what+": time", m.Time.UnixMilli(), want.Time.UnixMilli()),
			equal(what+": headers", len(m.Headers), len(want.Headers)),
		)
		for j, header := range want.Headers {
			err = errors.Join(err, equal(what+": header", m.Headers[j], header))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func everyCodec(ctx context.Context, broker string) error {
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		topic, err := newTopic(broker, "codec", 1)
		if err != nil {
			return err
		}
		var messages []kafka.Message
		for i := range 300 {
			value := bytes.Repeat(fmt.Appendf(nil, "%v %d ", codec, i), 50)
			messages = append(messages, kafka.Message{Value: value})
		}
		writer := &kafka.Writer{Compression: codec, BatchSize: 300, BatchTimeout: 100 * time.Millisecond}
		if err := write(ctx, broker, topic, writer, slices.Clone(messages)...); err != nil {
			return fmt.Errorf("%v: %w", codec, err)
		}
		got, err := read(ctx, broker, topic, 0, len(messages))
		if err != nil {
			return fmt.Errorf("%v: %w", codec, err)
		}
		for i := range got {
			if err := equal(codec.String(), string(got[i].Value), string(messages[i].Value)); err != nil {
				return err
			}
		}
	}
	return nil
}

func keysGoToJavasPartition(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "keyed", 7)
	if err != nil {
		return err
	}
	// Partitions of 7 by Kafka's hash, as the Python programs hold it against Kafka's own test values.
	want := map[string]int{"customer-0": 5, "customer-1": 3, "customer-2": 0, "customer-3": 5}
	var messages []kafka.Message
	for key := range want {
		messages = append(messages, kafka.Message{Key: []byte(key), Value: []byte(key)})
	}
	writer := &kafka.Writer{Balancer: kafka.Murmur2Balancer{Consistent: true}}
	if err := write(ctx, broker, topic, writer, messages...); err != nil {
		return err
	}
	for key, partition := range want {
		conn, err := kafka.DialLeader(ctx, "tcp", broker, topic, partition)
		if err != nil {
			return err
		}
		found := false
		last, err := conn.ReadLastOffset()
		for offset := int64(0); err == nil && offset < last; offset++ {
			var message kafka.Message
			if message, err = conn.ReadMessage(1e6); err == nil {
				found = found || string(message.Key) == key
			}
		}
		conn.Close()
		if err := errors.Join(err, equal(fmt.Sprintf("%s is in partition %d", key, partition), found, true)); err != nil {
			return err
		}
	}
	return nil
}

func largeAndTooLarge(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "large", 1)
	if err != nil {
		return err
	}
	value := make([]byte, 1_800_000)
	rand.New(rand.NewSource(1)).Read(value)
	large := kafka.Message{Value: value[:900_000]}
	if err := write(ctx, broker, topic, &kafka.Writer{BatchBytes: 4e6}, large); err != nil {
		return err
	}
	got, err := read(ctx, broker, topic, 0, 1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[0].Value, value[:900_000]) {
		return errors.New("900 kB came back changed")
	}
	tooLarge := kafka.Message{Value: value}
	err = write(ctx, broker, topic, &kafka.Writer{BatchBytes: 4e6, MaxAttempts: 1}, tooLarge)
	var refusals kafka.WriteErrors
	if errors.As(err, &refusals) && errors.Is(refusals[0], kafka.MessageSizeTooLarge) {
		return nil
	}
	if errors.Is(err, kafka.MessageSizeTooLarge) {
		return nil
	}
	return fmt.Errorf("1.8 MB: got %v, want %v", err, kafka.MessageSizeTooLarge)
}

func replayByTimestamp(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "replay", 1)
	if err != nil {
		return err
	}
	base := time.Now().Add(-10 * time.Minute).Truncate(time.Millisecond)
	var messages []kafka.Message
	for i := range 100 {
		at := base.Add(time.Duration(i) * time.Second)
		messages = append(messages, kafka.Message{Value: fmt.Append(nil, i), Time: at})
	}
	if err := write(ctx, broker, topic, &kafka.Writer{}, messages...); err != nil {
		return err
	}
	conn, err := kafka.DialLeader(ctx, "tcp", broker, topic, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	for after, want := range map[time.Duration]int64{
		0: 0, time.Millisecond: 1, 50 * time.Second: 50, 98500 * time.Millisecond: 99,
	} {
		offset, err := conn.ReadOffset(base.Add(after))
		if err := errors.Join(err, equal(fmt.Sprintf("offset at base + %v", after), offset, want)); err != nil {
			return err
		}
	}
	first, last, err := conn.ReadOffsets()
	if err := errors.Join(err, equal("bounds", [2]int64{first, last}, [2]int64{0, 100})); err != nil {
		return err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	if err := reader.SetOffsetAt(ctx, base.Add(50*time.Second)); err != nil {
		return err
	}
	message, err := reader.ReadMessage(ctx)
	return errors.Join(err, equal("the first replayed value", string(message.Value), "50"))
}

func acksOfEveryKind(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "acks", 1)
	if err != nil {
		return err
	}
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		message := kafka.Message{Value: []byte(acks.String())}
		if err := writeAs(ctx, broker, topic, &kafka.Writer{RequiredAcks: acks}, message); err != nil {
			return err
		}
		// acks=0 returns before the broker has read it; the order is only certain once it is there.
		if _, err := read(ctx, broker, topic, 0, 1); err != nil {
			return err
		}
	}
	got, err := read(ctx, broker, topic, 0, 3)
	if err != nil {
		return err
	}
	values := []string{string(got[0].Value), string(got[1].Value), string(got[2].Value)}
	return equal("values", values, []string{"none", "one", "all"})
}

// groupMember reads and commits until its context ends.
type groupMember struct {
	reader *kafka.Reader
	leave  context.CancelFunc
	done   chan struct{}
}

type received struct {
	sync.Mutex
	values map[string]int
}

func (r *received) count() int {
	r.Lock()
	defer r.Unlock()
	return len(r.values)
}

func join(ctx context.Context, broker, group, topic string, into *received) *groupMember {
	ctx, leave := context.WithCancel(ctx)
	member := &groupMember{leave: leave, done: make(chan struct{}), reader: kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond, SessionTimeout: 6 * time.Second, HeartbeatInterval: 300 * time.Millisecond,
	})}
	go func() {
		defer close(member.done)
		for {
			message, err := member.reader.ReadMessage(ctx)
			if err != nil {
				return
			}
			into.Lock()
			into.values[string(message.Value)]++
			into.Unlock()
		}
	}()
	return member
}

func (m *groupMember) close() error {
	m.leave()
	<-m.done
	return m.reader.Close()
}

func groupOfOneToThree(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "group", 6)
	if err != nil {
		return err
	}
	group, into := fresh("group"), &received{values: map[string]int{}}
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	stable := func(size int) func() bool {
		return func() bool {
			answer, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
			if err != nil || answer.Groups[0].GroupState != "Stable" || len(answer.Groups[0].Members) != size {
				return false
			}
			var owned []int
			for _, member := range answer.Groups[0].Members {
				for _, topic := range member.MemberAssignments.Topics {
					owned = append(owned, topic.Partitions...)
				}
			}
			slices.Sort(owned)
			return slices.Equal(owned, []int{0, 1, 2, 3, 4, 5})
		}
	}
	sent := 0
	produce := func() error {
		var messages []kafka.Message
		for range 120 {
			messages = append(messages, kafka.Message{Value: fmt.Append(nil, sent)})
			sent++
		}
		if err := write(ctx, broker, topic, &kafka.Writer{Balancer: &kafka.RoundRobin{}}, messages...); err != nil {
			return err
		}
		return eventually(ctx, "every message reached a member", func() bool { return into.count() == sent })
	}
	var members []*groupMember
	for size := 1; size <= 3; size++ {
		members = append(members, join(ctx, broker, group, topic, into))
		if err := eventually(ctx, fmt.Sprintf("%d members share 6 partitions", size), stable(size)); err != nil {
			return err
		}
		if err := produce(); err != nil {
			return err
		}
	}
	if err := members[0].close(); err != nil {
		return err
	}
	if err := eventually(ctx, "2 members share 6 partitions", stable(2)); err != nil {
		return err
	}
	if err := produce(); err != nil {
		return err
	}
	return errors.Join(members[1].close(), members[2].close())
}

func groupResumes(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "resume", 1)
	if err != nil {
		return err
	}
	var messages []kafka.Message
	for i := range 20 {
		messages = append(messages, kafka.Message{Value: fmt.Append(nil, i)})
	}
	if err := write(ctx, broker, topic, &kafka.Writer{}, messages...); err != nil {
		return err
	}
	config := kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, GroupID: fresh("resume"),
		StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond,
	}
	first := kafka.NewReader(config)
	for range 8 {
		message, err := first.FetchMessage(ctx)
		if err != nil {
			return err
		}
		if err := first.CommitMessages(ctx, message); err != nil {
			return err
		}
	}
	if err := first.Close(); err != nil {
		return err
	}
	second := kafka.NewReader(config)
	defer second.Close()
	message, err := second.ReadMessage(ctx)
	if err := errors.Join(err, equal("where the group goes on", message.Offset, int64(8))); err != nil {
		return err
	}
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	listed, err := client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(listed.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == config.GroupID }) {
		return errors.New("the group is not listed")
	}
	return nil
}

func administration(ctx context.Context, broker string) error {
	topic, err := newTopic(broker, "admin", 2, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "7200000"})
	if err != nil {
		return err
	}
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	added, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 5}},
	})
	if err := errors.Join(err, equal("create partitions", added.Errors[topic], nil)); err != nil {
		return err
	}
	// The client answers Metadata from what its pool last heard.
	err = eventually(ctx, "5 partitions", func() bool {
		metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		return err == nil && len(metadata.Topics[0].Partitions) == 5
	})
	if err != nil {
		return err
	}
	altered, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
				Name: "retention.ms", Value: "8000000", ConfigOperation: kafka.ConfigOperationSet,
			}},
		}},
	})
	if err := errors.Join(err, equal("alter configs", altered.Resources[0].Error, nil)); err != nil {
		return err
	}
	err = eventually(ctx, "the new retention shows", func() bool {
		described, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"},
			}},
		})
		return err == nil && described.Resources[0].ConfigEntries[0].ConfigValue == "8000000"
	})
	if err != nil {
		return err
	}
	producer, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{})
	if err := errors.Join(err, equal("producer epoch", producer.Producer.ProducerEpoch, 0)); err != nil {
		return err
	}
	group := fresh("admin")
	committed, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 1, Offset: 0, Metadata: "start"}}},
	})
	if err := errors.Join(err, equal("commit", committed.Topics[topic][0].Error, nil)); err != nil {
		return err
	}
	held, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {1}}})
	if err := errors.Join(err, equal("metadata of the commit", held.Topics[topic][0].Metadata, "start")); err != nil {
		return err
	}
	gone, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err := errors.Join(err, equal("delete group", gone.Errors[group], nil)); err != nil {
		return err
	}
	deleted, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err := errors.Join(err, equal("delete topic", deleted.Errors[topic], nil)); err != nil {
		return err
	}
	again, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	if !errors.Is(again.Errors[topic], kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("delete again: got %v, want %v", again.Errors[topic], kafka.UnknownTopicOrPartition)
	}
	return nil
}
