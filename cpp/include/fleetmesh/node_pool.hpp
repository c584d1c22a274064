// Memory for the nodes of persistent maps: many blocks of one size, on large pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fleetmesh {

// A change of a large mesh touches nodes all over it, and with small pages the look-up of each page
// costs as much as the node. Blocks are kept for reuse and never given back to the system; so pools
// are never destroyed either, as nodes of static objects may outlive any order of destruction.
class NodePool {
 public:
  explicit NodePool(std::size_t size)
      : size_((size + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) *
              alignof(std::max_align_t)) {}
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  // Sanitizers see a page as one block of memory, so under them each node has its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  void* allocate() const { return ::operator new(size_); }
  void release(void* memory) const { ::operator delete(memory); }
#else
  void* allocate() {
    const std::scoped_lock lock(mutex_);
    if (!free_) grow();
    Block* block = free_;
    free_ = block->next;
    __builtin_prefetch(free_, 1);  // the next one, which was used a while ago
    return block;
  }

  void release(void* memory) {
    const std::scoped_lock lock(mutex_);
    free_ = new (memory) Block{free_};
  }
#endif

 private:
  struct Block {
    Block* next;
  };
  static constexpr std::size_t kSmallPage = std::size_t{16} << 10;
  static constexpr std::size_t kLargePage = std::size_t{2} << 20;

  // A small mesh stays small: only what is asked for again and again comes from large pages.
  void grow() {
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(next_page_, next_page_));
    if (!memory) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (next_page_ == kLargePage)
      (void)madvise(memory, next_page_, MADV_HUGEPAGE);  // advice: else only slower
#endif
    for (std::size_t i = next_page_ / size_; i-- > 0;) free_ = new (memory + i * size_) Block{free_};
    next_page_ = std::min(next_page_ * 2, kLargePage);
  }

  const std::size_t size_;
  std::size_t next_page_ = kSmallPage;
  std::mutex mutex_;
  Block* free_ = nullptr;
};

}  // namespace fleetmesh
