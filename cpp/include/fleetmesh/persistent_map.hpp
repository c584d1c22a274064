// An ordered map whose copies share what they have in common.
//
// A B+ tree with reference-counted nodes. Copying a map is O(1); changing a copy clones only the
// nodes on the path that somebody else still holds, so a snapshot stays as it was, and a map that
// nobody shares is changed in place. Readers of one copy and the writer of another need no lock.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "fleetmesh/node_pool.hpp"

namespace fleetmesh {

template <class Key, class Value, std::size_t LeafCapacity = 64, std::size_t Fanout = 32>
class PersistentMap {
  static_assert(LeafCapacity >= 4 && Fanout >= 4);

  struct Node {
    std::atomic<std::uint32_t> references{1};
    std::uint16_t size = 0;
    bool is_leaf;
    explicit Node(bool leaf) : is_leaf(leaf) {}
  };

  class Ref {
   public:
    Ref() = default;
    explicit Ref(Node* adopted) : node_(adopted) {}
    Ref(const Ref& other) : node_(other.node_) {
      if (node_) node_->references.fetch_add(1, std::memory_order_relaxed);
    }
    Ref(Ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Ref() {
      if (node_ && node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(node_);
    }
    Node* get() const { return node_; }
    explicit operator bool() const { return node_ != nullptr; }
    bool unique() const { return node_->references.load(std::memory_order_acquire) == 1; }

   private:
    Node* node_ = nullptr;
  };

  // Sanitizers see a pool as one block of memory, so under them each node has its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  template <class Kind>
  struct Pooled {};
#else
  template <class Kind>
  struct Pooled {
    static void* operator new(std::size_t) { return NodePool<sizeof(Kind)>::allocate(); }
    static void operator delete(void* memory) { NodePool<sizeof(Kind)>::release(memory); }
  };
#endif

  struct Leaf : Node, Pooled<Leaf> {
    Leaf() : Node(true) {}
    std::array<Key, LeafCapacity> keys;
    std::array<Value, LeafCapacity> values;
  };

  struct Inner : Node, Pooled<Inner> {
    Inner() : Node(false) {}
    std::array<Key, Fanout> first;  // the smallest key below each child
    std::array<Ref, Fanout> children;
  };

  static void destroy(Node* node) {
    if (node->is_leaf)
      delete static_cast<Leaf*>(node);
    else
      delete static_cast<Inner*>(node);
  }

  static Leaf* leaf(Node* node) { return static_cast<Leaf*>(node); }
  static Inner* inner(Node* node) { return static_cast<Inner*>(node); }

  static void fetch(const void* from, std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    for (std::size_t offset = 0; offset < bytes; offset += kLine)
      __builtin_prefetch(static_cast<const char*>(from) + offset);
    __asm__ volatile("");  // else gcc takes a function that only prefetches for one without effect
  }

  static const Key& smallest(Node* node) {
    return node->is_leaf ? leaf(node)->keys[0] : inner(node)->first[0];
  }

  // Which child of `node` holds `key`, if any does.
  static std::size_t child_of(const Inner* node, const Key& key) {
    const auto end = node->first.begin() + node->size;
    const auto after = std::upper_bound(node->first.begin() + 1, end, key);
    return static_cast<std::size_t>(after - node->first.begin()) - 1;
  }

  static std::size_t position_in(const Leaf* node, const Key& key) {
    const auto end = node->keys.begin() + node->size;
    return static_cast<std::size_t>(std::lower_bound(node->keys.begin(), end, key) - node->keys.begin());
  }

  // Makes the node behind `ref` ours alone, cloning it if it is shared.
  static Node* own(Ref& ref) {
    if (ref.unique()) return ref.get();
    const Node* old = ref.get();
    if (old->is_leaf) {
      auto copy = std::make_unique<Leaf>();
      const auto* from = static_cast<const Leaf*>(old);
      std::copy_n(from->keys.begin(), old->size, copy->keys.begin());
      std::copy_n(from->values.begin(), old->size, copy->values.begin());
      copy->size = old->size;
      ref = Ref(copy.release());
    } else {
      auto copy = std::make_unique<Inner>();
      const auto* from = static_cast<const Inner*>(old);
      std::copy_n(from->first.begin(), old->size, copy->first.begin());
      std::copy_n(from->children.begin(), old->size, copy->children.begin());
      copy->size = old->size;
      ref = Ref(copy.release());
    }
    return ref.get();
  }

  template <class Array, class Item>
  static void insert_at(Array& array, std::size_t size, std::size_t at, Item&& item) {
    const auto begin = array.begin();
    std::move_backward(begin + static_cast<std::ptrdiff_t>(at), begin + static_cast<std::ptrdiff_t>(size),
                       begin + static_cast<std::ptrdiff_t>(size) + 1);
    array[at] = std::forward<Item>(item);
  }

  template <class Array>
  static void erase_at(Array& array, std::size_t size, std::size_t at) {
    const auto begin = array.begin();
    std::move(begin + static_cast<std::ptrdiff_t>(at) + 1, begin + static_cast<std::ptrdiff_t>(size),
              begin + static_cast<std::ptrdiff_t>(at));
    array[size - 1] = {};
  }

  template <class Array>
  static void move_tail(Array& from, std::size_t size, std::size_t keep, Array& to) {
    const auto begin = from.begin();
    std::move(begin + static_cast<std::ptrdiff_t>(keep), begin + static_cast<std::ptrdiff_t>(size),
              to.begin());
    std::fill(begin + static_cast<std::ptrdiff_t>(keep), begin + static_cast<std::ptrdiff_t>(size),
              typename Array::value_type{});
  }

  // Where a full node is cut. Keys that arrive in order leave full nodes behind them.
  static std::size_t cut(std::size_t size, std::size_t at) { return at == size ? size : size / 2; }

  struct Inserted {
    Value* value = nullptr;
    bool is_new = false;
    Ref sibling;  // a new right neighbour of the node, if it had to be cut
  };

  static Inserted insert(Ref& ref, const Key& key) {
    Node* node = own(ref);
    return node->is_leaf ? insert_leaf(leaf(node), key) : insert_inner(inner(node), key);
  }

  static Inserted insert_leaf(Leaf* node, const Key& key) {
    Inserted result;
    std::size_t at = position_in(node, key);
    if (at < node->size && !(key < node->keys[at])) {
      result.value = &node->values[at];
      return result;
    }
    result.is_new = true;
    Leaf* target = node;
    if (node->size == LeafCapacity) {
      auto right = std::make_unique<Leaf>();
      const std::size_t keep = cut(LeafCapacity, at);
      move_tail(node->keys, LeafCapacity, keep, right->keys);
      move_tail(node->values, LeafCapacity, keep, right->values);
      right->size = static_cast<std::uint16_t>(LeafCapacity - keep);
      node->size = static_cast<std::uint16_t>(keep);
      if (at >= keep && (at > keep || keep == LeafCapacity)) {
        target = right.get();
        at -= keep;
      }
      result.sibling = Ref(right.release());
    }
    insert_at(target->keys, target->size, at, key);
    insert_at(target->values, target->size, at, Value{});
    ++target->size;
    result.value = &target->values[at];
    return result;
  }

  static Inserted insert_inner(Inner* node, const Key& key) {
    std::size_t at = child_of(node, key);
    if (key < node->first[0]) node->first[0] = key;
    Inserted result = insert(node->children[at], key);
    if (!result.sibling) return result;
    Ref child = std::move(result.sibling);
    result.sibling = Ref();
    ++at;
    Inner* target = node;
    if (node->size == Fanout) {
      auto right = std::make_unique<Inner>();
      const std::size_t keep = cut(Fanout, at);
      move_tail(node->first, Fanout, keep, right->first);
      move_tail(node->children, Fanout, keep, right->children);
      right->size = static_cast<std::uint16_t>(Fanout - keep);
      node->size = static_cast<std::uint16_t>(keep);
      if (at >= keep && (at > keep || keep == Fanout)) {
        target = right.get();
        at -= keep;
      }
      result.sibling = Ref(right.release());
    }
    insert_at(target->first, target->size, at, smallest(child.get()));
    insert_at(target->children, target->size, at, std::move(child));
    ++target->size;
    return result;
  }

  static bool contains(Node* node, const Key& key) {
    while (!node->is_leaf) node = inner(node)->children[child_of(inner(node), key)].get();
    const std::size_t at = position_in(leaf(node), key);
    return at < node->size && !(key < leaf(node)->keys[at]);
  }

  // Removes a key that is known to be there.
  static void remove(Ref& ref, const Key& key) {
    Node* node = own(ref);
    if (node->is_leaf) {
      const std::size_t at = position_in(leaf(node), key);
      erase_at(leaf(node)->keys, node->size, at);
      erase_at(leaf(node)->values, node->size, at);
      --node->size;
      return;
    }
    Inner* here = inner(node);
    const std::size_t at = child_of(here, key);
    remove(here->children[at], key);
    Node* child = here->children[at].get();
    if (child->size == 0) {
      erase_at(here->first, here->size, at);
      erase_at(here->children, here->size, at);
      --here->size;
      return;
    }
    here->first[at] = smallest(child);
    if (at + 1 < here->size)
      join_children(here, at);
    else if (at > 0)
      join_children(here, at - 1);
  }

  // Moves the right one of two thin neighbours into the left one.
  static void join_children(Inner* node, std::size_t at) {
    const Node* left = node->children[at].get();
    const Node* right = node->children[at + 1].get();
    const std::size_t capacity = left->is_leaf ? LeafCapacity : Fanout;
    if (static_cast<std::size_t>(left->size) + right->size > capacity / 2) return;
    Node* into = own(node->children[at]);
    Node* from = own(node->children[at + 1]);
    const auto offset = static_cast<std::ptrdiff_t>(into->size);
    if (into->is_leaf) {
      std::move(leaf(from)->keys.begin(), leaf(from)->keys.begin() + from->size,
                leaf(into)->keys.begin() + offset);
      std::move(leaf(from)->values.begin(), leaf(from)->values.begin() + from->size,
                leaf(into)->values.begin() + offset);
    } else {
      std::move(inner(from)->first.begin(), inner(from)->first.begin() + from->size,
                inner(into)->first.begin() + offset);
      std::move(inner(from)->children.begin(), inner(from)->children.begin() + from->size,
                inner(into)->children.begin() + offset);
    }
    into->size = static_cast<std::uint16_t>(into->size + from->size);
    erase_at(node->first, node->size, at + 1);
    erase_at(node->children, node->size, at + 1);
    --node->size;
  }

 public:
  // Walks the entries in order of keys. Valid while the map it came from is not changed.
  class Cursor {
   public:
    explicit operator bool() const { return depth_ > 0; }
    const Key& key() const { return leaf(top().node)->keys[top().at]; }
    const Value& value() const { return leaf(top().node)->values[top().at]; }

    void next() {
      ++stack_[depth_ - 1].at;
      settle();
    }

   private:
    friend class PersistentMap;
    struct Step {
      Node* node;
      std::size_t at;
    };
    const Step& top() const { return stack_[depth_ - 1]; }
    void push(Node* node, std::size_t at) {
      assert(depth_ < stack_.size());
      stack_[depth_++] = {node, at};
    }

    // Leaves exhausted nodes and goes down to a leaf entry.
    void settle() {
      while (depth_ > 0 && top().at == top().node->size) {
        --depth_;
        if (depth_ > 0) ++stack_[depth_ - 1].at;
      }
      if (depth_ > 0) descend();
    }

    void descend() {
      while (!top().node->is_leaf) push(inner(top().node)->children[top().at].get(), 0);
    }

    // The largest subtree that begins exactly here, counted in levels above the leaf; its node.
    Node* subtree(std::size_t level) const {
      if (level >= depth_) return nullptr;
      for (std::size_t i = depth_ - 1 - level; i < depth_; ++i)
        if (stack_[i].at != 0) return nullptr;
      return stack_[depth_ - 1 - level].node;
    }

    void skip(std::size_t level) {
      depth_ -= level;
      stack_[depth_ - 1].at = stack_[depth_ - 1].node->size;
      settle();
    }

    std::array<Step, 16> stack_;
    std::size_t depth_ = 0;
  };

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  const Value* find(const Key& key) const {
    Node* node = root_.get();
    if (!node) return nullptr;
    while (!node->is_leaf) node = inner(node)->children[child_of(inner(node), key)].get();
    const std::size_t at = position_in(leaf(node), key);
    if (at == node->size || key < leaf(node)->keys[at]) return nullptr;
    return &leaf(node)->values[at];
  }

  // The value of `key`, made by default if there was none; ours to change until the next change.
  Value& operator[](const Key& key) {
    if (!root_) root_ = Ref(new Leaf());
    Inserted result = insert(root_, key);
    if (result.is_new) ++size_;
    if (result.sibling) {
      auto top = std::make_unique<Inner>();
      top->first[0] = smallest(root_.get());
      top->first[1] = smallest(result.sibling.get());
      top->children[0] = std::move(root_);
      top->children[1] = std::move(result.sibling);
      top->size = 2;
      root_ = Ref(top.release());
    }
    return *result.value;
  }

  bool erase(const Key& key) {
    if (!root_ || !contains(root_.get(), key)) return false;
    remove(root_, key);
    --size_;
    if (root_.get()->size == 0) {
      root_ = Ref();
      return true;
    }
    while (!root_.get()->is_leaf && root_.get()->size == 1) {
      Ref only = inner(root_.get())->children[0];
      root_ = std::move(only);
    }
    return true;
  }

  Cursor begin() const {
    Cursor cursor;
    if (root_) {
      cursor.push(root_.get(), 0);
      cursor.descend();
    }
    return cursor;
  }

  // The first entry whose key is not less than `key`.
  Cursor lower_bound(const Key& key) const {
    Cursor cursor;
    Node* node = root_.get();
    if (!node) return cursor;
    while (!node->is_leaf) {
      const std::size_t at = child_of(inner(node), key);
      cursor.push(node, at);
      node = inner(node)->children[at].get();
    }
    cursor.push(node, position_in(leaf(node), key));
    cursor.settle();
    return cursor;
  }

  // Fetches what lies on the way to several keys, so that the waits for memory overlap. A change of
  // one of them soon after finds its nodes in the cache; nothing else comes of it.
  template <std::size_t Count>
  void prefetch(const std::array<Key, Count>& keys, std::size_t count) const {
    if (!root_) return;
    std::array<Node*, Count> at;
    at.fill(root_.get());
    for (bool deeper = !root_.get()->is_leaf; deeper;) {
      for (std::size_t i = 0; i < count; ++i) {
        const Inner* node = inner(at[i]);
        at[i] = node->children[child_of(node, keys[i])].get();
        // A change counts references of all the children.
        for (std::size_t child = 0; child < node->size; ++child)
          __builtin_prefetch(node->children[child].get(), 1);
        fetch(at[i], sizeof(Inner));
      }
      deeper = !at[0]->is_leaf;  // all leaves are on one level
    }
    for (std::size_t i = 0; i < count; ++i) fetch(at[i], sizeof(Leaf));
  }

  // Calls `changed(key)` for each key that only one side has or whose values differ by `same`.
  // Costs what the two do not share.
  template <class Same, class Changed>
  static void compare(const PersistentMap& a, const PersistentMap& b, Same same, Changed changed) {
    Cursor x = a.begin();
    Cursor y = b.begin();
    while (x && y) {
      if (skip_shared(x, y)) continue;
      if (x.key() < y.key()) {
        changed(x.key());
        x.next();
      } else if (y.key() < x.key()) {
        changed(y.key());
        y.next();
      } else {
        if (!same(x.value(), y.value())) changed(x.key());
        x.next();
        y.next();
      }
    }
    for (; x; x.next()) changed(x.key());
    for (; y; y.next()) changed(y.key());
  }

 private:
  static bool skip_shared(Cursor& x, Cursor& y) {
    std::size_t shared = 0;
    bool found = false;
    for (std::size_t level = 0;; ++level) {
      Node* left = x.subtree(level);
      Node* right = y.subtree(level);
      if (!left || !right) break;
      if (left == right) {
        shared = level;
        found = true;
      }
    }
    if (!found) return false;
    x.skip(shared);
    y.skip(shared);
    return true;
  }

  Ref root_;
  std::size_t size_ = 0;
};

}  // namespace fleetmesh
