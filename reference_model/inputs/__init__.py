"""From a request or a sample to tensors: conversation, images, regions, batches."""
