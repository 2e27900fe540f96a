// scripts/test-video-generation.js
const BASE_URL = 'http://localhost:3000';

async function testVideoGeneration() {
  console.log('Testing video generation...');
  
  // 1. Queue a job
  const queueRes = await fetch(`${BASE_URL}/api/video/generate`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      wallet_address: 'test_wallet_123',
      prompt: 'A character waving hello',
      image_urls: ['https://example.com/image.png'],
      aspect_ratio: 'landscape',
    }),
  });
  
  const { job_id } = await queueRes.json();
  console.log('Job queued:', job_id);
  
  // 2. Poll for completion
  let attempts = 0;
  while (attempts < 150) { // 5 minutes max
    const statusRes = await fetch(`${BASE_URL}/api/video/jobs/${job_id}`);
    const { job } = await statusRes.json();
    
    console.log(`Status: ${job.status}`);
    
    if (job.status === 'completed') {
      console.log('Video URL:', job.video_url);
      break;
    }
    if (job.status === 'failed') {
      console.log('Error:', job.error_message);
      break;
    }
    
    await new Promise(r => setTimeout(r, 2000));
    attempts++;
  }
}

testVideoGeneration();
